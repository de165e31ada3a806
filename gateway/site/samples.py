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
    payload = _compact(body or FIRST_BODY).replace("'", "'\\''")
    return (
        f"curl {base_url}{path} \\\n"
        f'  -H "Authorization: Bearer {key}" \\\n'
        f'  -H "Content-Type: application/json" \\\n'
        f"  -d '{payload}'"
    )


def samples(*, base_url: str, key: str, body: dict[str, Any] | None = None, path: str = PATH) -> list[Sample]:
    """The same call in every language that the documentation speaks, in the order of its tabs."""
    call = _Call(base_url=base_url, path=path, key=key, body=body or FIRST_BODY)
    return [
        Sample("curl", "cURL", curl_call(base_url=base_url, key=key, body=call.body, path=path)),
        Sample("python", "Python", call.python()),
        Sample("javascript", "JavaScript", call.javascript()),
        Sample("php", "PHP", call.php()),
        Sample("node", "Node", call.node()),
        Sample("java", "Java", call.java()),
    ]


def _compact(body: dict[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False)


def _pretty(body: dict[str, Any], indent: int) -> str:
    text = json.dumps(body, ensure_ascii=False, indent=2)
    return text.replace("\n", "\n" + " " * indent)


@dataclass(frozen=True, slots=True)
class _Call:
    base_url: str
    path: str
    key: str
    body: dict[str, Any]

    @property
    def url(self) -> str:
        return self.base_url + self.path

    def python(self) -> str:
        return (
            "import json\n"
            "import urllib.request\n\n"
            "request = urllib.request.Request(\n"
            f'    "{self.url}",\n'
            f"    data=json.dumps({_python_literal(self.body)}).encode(),\n"
            f'    headers={{"Authorization": "Bearer {self.key}", "Content-Type": "application/json"}},\n'
            ")\n"
            "with urllib.request.urlopen(request, timeout=60) as response:\n"
            "    reply = json.load(response)\n"
            'print(reply["status"], reply.get("output") or reply.get("future_links"))'
        )

    def javascript(self) -> str:
        return (
            f'const response = await fetch("{self.url}", {{\n'
            '  method: "POST",\n'
            f'  headers: {{ Authorization: "Bearer {self.key}", "Content-Type": "application/json" }},\n'
            f"  body: JSON.stringify({_pretty(self.body, 2)}),\n"
            "});\n"
            "const reply = await response.json();\n"
            "console.log(reply.status, reply.output);"
        )

    def node(self) -> str:
        return (
            'import { writeFile } from "node:fs/promises";\n\n'
            f'const response = await fetch("{self.url}", {{\n'
            '  method: "POST",\n'
            f'  headers: {{ Authorization: "Bearer {self.key}", "Content-Type": "application/json" }},\n'
            f"  body: JSON.stringify({_pretty(self.body, 2)}),\n"
            "});\n"
            "const reply = await response.json();\n"
            'if (reply.status !== "success") throw new Error(reply.message);\n'
            "const picture = await fetch(reply.output[0]);\n"
            'await writeFile("picture.png", Buffer.from(await picture.arrayBuffer()));\n'
            'console.log("picture.png");'
        )

    def php(self) -> str:
        body = _compact(self.body).replace("\\", "\\\\").replace("'", "\\'")
        return (
            "<?php\n"
            "$call = stream_context_create(['http' => [\n"
            "    'method' => 'POST',\n"
            f"    'header' => ['Authorization: Bearer {self.key}', 'Content-Type: application/json'],\n"
            f"    'content' => '{body}',\n"
            "    'timeout' => 60,\n"
            "    'ignore_errors' => true,\n"
            "]]);\n"
            f"$reply = json_decode(file_get_contents('{self.url}', false, $call), true);\n"
            "echo $reply['status'], ' ', $reply['output'][0] ?? $reply['message'], PHP_EOL;"
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
