"""The first call in each language, as pages, e-mails and the playground show it. Pure text; a test runs what it can."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

PATH = "/api/v7/images/text-to-image"
FIRST_PROMPT = "a red circle on a blue background"
FIRST_BODY: dict[str, Any] = {"model_id": "demo", "prompt": FIRST_PROMPT}


@dataclass(frozen=True, slots=True)
class Sample:
    """One example in one language."""

    key: str
    label: str
    text: str


def curl_call(*, base_url: str, key: str, body: dict[str, Any] | None = None, path: str = PATH) -> str:
    """A shell line that works as it stands. Single quotes keep the body whole; those inside it are escaped."""
    return _Call(base_url=base_url, path=path, key=key, body=body or FIRST_BODY).curl()


def samples(*, base_url: str, key: str, body: dict[str, Any] | None = None, path: str = PATH) -> list[Sample]:
    """The same call in every language that the documentation speaks, in the order of its tabs."""
    call = _Call(base_url=base_url, path=path, key=key, body=body or FIRST_BODY)
    return [*_in_all(call), Sample("java", "Java", call.java())]


def operation_samples(*, base_url: str, key: str, method: str, path: str, body: dict[str, Any]) -> list[Sample]:
    """Any operation of the API; its reply is printed as it is."""
    return _in_all(_Call(base_url=base_url, path=path, key=key, body=body, method=method, draws=False))


def _in_all(call: _Call) -> list[Sample]:
    return [
        Sample("curl", "cURL", call.curl()),
        Sample("python", "Python", call.python()),
        Sample("javascript", "JavaScript", call.javascript()),
        Sample("php", "PHP", call.php()),
        Sample("node", "Node", call.node()),
    ]


def _compact(body: dict[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False)


def _pretty(body: dict[str, Any], indent: int) -> str:
    text = json.dumps(body, ensure_ascii=False, indent=2)
    return text.replace("\n", "\n" + " " * indent)


@dataclass(frozen=True, slots=True)
class _Call:
    """One call. `draws`: its reply holds pictures, and the samples say where they are."""

    base_url: str
    path: str
    key: str
    body: dict[str, Any]
    method: str = "POST"
    draws: bool = True

    @property
    def url(self) -> str:
        return self.base_url + self.path

    @property
    def sends(self) -> bool:
        return self.method != "GET"

    def curl(self) -> str:
        lines = [f"curl {self.url}", f'  -H "Authorization: Bearer {self.key}"']
        if self.sends:
            payload = _compact(self.body).replace("'", "'\\''")
            lines += ['  -H "Content-Type: application/json"', f"  -d '{payload}'"]
        return " \\\n".join(lines)

    def python(self) -> str:
        data = f"    data=json.dumps({_python_literal(self.body)}).encode(),\n" if self.sends else ""
        kind = ', "Content-Type": "application/json"' if self.sends else ""
        shown = 'reply["status"], reply.get("output") or reply.get("future_links")' if self.draws else "reply"
        return (
            "import json\n"
            "import urllib.request\n\n"
            "request = urllib.request.Request(\n"
            f'    "{self.url}",\n'
            f"{data}"
            f'    headers={{"Authorization": "Bearer {self.key}"{kind}}},\n'
            ")\n"
            "with urllib.request.urlopen(request, timeout=60) as response:\n"
            "    reply = json.load(response)\n"
            f"print({shown})"
        )

    def _fetch(self) -> str:
        """What both JavaScript samples begin with."""
        kind = ', "Content-Type": "application/json"' if self.sends else ""
        method = f'  method: "{self.method}",\n' if self.sends else ""
        body = f"  body: JSON.stringify({_pretty(self.body, 2)}),\n" if self.sends else ""
        return (
            f'const response = await fetch("{self.url}", {{\n'
            f"{method}"
            f'  headers: {{ Authorization: "Bearer {self.key}"{kind} }},\n'
            f"{body}"
            "});\n"
            "const reply = await response.json();\n"
        )

    def javascript(self) -> str:
        return self._fetch() + ("console.log(reply.status, reply.output);" if self.draws else "console.log(reply);")

    def node(self) -> str:
        if not self.draws:
            written = 'await writeFile("reply.json", JSON.stringify(reply, null, 2));\nconsole.log("reply.json");'
            return 'import { writeFile } from "node:fs/promises";\n\n' + self._fetch() + written
        return (
            'import { writeFile } from "node:fs/promises";\n\n' + self._fetch() + ""
            'if (reply.status !== "success") throw new Error(reply.message);\n'
            "const picture = await fetch(reply.output[0]);\n"
            'await writeFile("picture.png", Buffer.from(await picture.arrayBuffer()));\n'
            'console.log("picture.png");'
        )

    def php(self) -> str:
        body = _compact(self.body).replace("\\", "\\\\").replace("'", "\\'")
        kind = ", 'Content-Type: application/json'" if self.sends else ""
        content = f"    'content' => '{body}',\n" if self.sends else ""
        shown = (
            "echo $reply['status'], ' ', $reply['output'][0] ?? $reply['message'], PHP_EOL;"
            if self.draws
            else "echo json_encode($reply, JSON_PRETTY_PRINT), PHP_EOL;"
        )
        return (
            "<?php\n"
            "$call = stream_context_create(['http' => [\n"
            f"    'method' => '{self.method}',\n"
            f"    'header' => ['Authorization: Bearer {self.key}'{kind}],\n"
            f"{content}"
            "    'timeout' => 60,\n"
            "    'ignore_errors' => true,\n"
            "]]);\n"
            f"$reply = json_decode(file_get_contents('{self.url}', false, $call), true);\n"
            f"{shown}"
        )

    def java(self) -> str:
        body = _compact(self.body).replace("\\", "\\\\").replace('"', '\\"')
        return (
            "import java.net.URI;\n"
            "import java.net.http.*;\n\n"
            "class FirstPicture {\n"
            "  public static void main(String[] args) throws Exception {\n"
            f'    var request = HttpRequest.newBuilder(URI.create("{self.url}"))\n'
            f'        .header("Authorization", "Bearer {self.key}")\n'
            '        .header("Content-Type", "application/json")\n'
            f'        .POST(HttpRequest.BodyPublishers.ofString("{body}"))\n'
            "        .build();\n"
            "    var reply = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());\n"
            "    System.out.println(reply.body());\n"
            "  }\n"
            "}"
        )


def _python_literal(body: dict[str, Any]) -> str:
    """The body as a Python literal: JSON but for True, False and None."""
    return "{" + ", ".join(f"{json.dumps(name)}: {_python_value(value)}" for name, value in body.items()) + "}"


def _python_value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, dict):
        return _python_literal(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_python_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)
