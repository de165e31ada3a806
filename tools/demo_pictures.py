"""Makes the pictures of the product page with the demo model of a running service, and keeps them with their facts.

python -m tools.demo_pictures, beside `make run`. Do it after the model was trained anew, and look at what came out
before you commit it: the page says that nothing was retouched.
"""

from __future__ import annotations

import argparse
import json
import urllib.request
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "static" / "img" / "demo"
PROMPTS = (
    "a red circle on a blue background",
    "a green square and a white star on a black background",
    "a green triangle on a white background",
    "a blue square on a yellow background",
    "a white ring and a yellow heart on a red background",
    "a red square and a blue triangle on a white background",
)
TIMEOUT_S = 120


def picture_make(base_url: str, key: str, prompt: str, seed: int) -> dict[str, Any]:
    """The reply to one call, finished."""
    request = urllib.request.Request(
        f"{base_url}/api/v7/images/text-to-image",
        data=json.dumps({"model_id": "demo", "prompt": prompt, "seed": seed}).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        reply: dict[str, Any] = json.load(answer)
    if reply["status"] != "success":
        raise SystemExit(f"{prompt}: {reply['status']}: {reply.get('message', '')}")
    return reply


def picture_keep(reply: dict[str, Any], prompt: str, name: str) -> dict[str, Any]:
    """Save the picture under `name`; its facts as gateway.site.demo_pictures reads them."""
    with urllib.request.urlopen(reply["output"][0], timeout=TIMEOUT_S) as answer:
        (FOLDER / name).write_bytes(answer.read())
    meta = reply["meta"]
    return {
        "file": name,
        "prompt": prompt,
        "seed": int(meta["seed"]),
        "steps": int(meta["steps"]),
        "width_px": int(meta["W"]),
        "height_px": int(meta["H"]),
        "run_ms": round(reply["generationTime"] * 1000),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", default=".run/demo.env", help="where `make run` left its address and key")
    parser.add_argument("--seed", type=int, default=12)
    options = parser.parse_args()
    service = dict(line.split("=", 1) for line in Path(options.facts).read_text().splitlines())
    FOLDER.mkdir(parents=True, exist_ok=True)
    facts = []
    for number, prompt in enumerate(PROMPTS, start=1):
        reply = picture_make(service["URL"], service["API_KEY"], prompt, options.seed)
        facts.append(picture_keep(reply, prompt, f"{number}.png"))
        print(prompt)
    (FOLDER / "pictures.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
