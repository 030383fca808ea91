"""The two pages of the service: one to drop a photo on, one that says how to ask. They load nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

SERVICE_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 0.875rem/1.5 ui-monospace, monospace; }
pre { overflow-x: auto; padding: 0.75rem; border: 1px solid #8886; border-radius: 6px; }
h2 { margin-top: 2rem; font-size: 1.1rem; }
table { border-collapse: collapse; } td, th { padding: 0.1rem 1rem 0.1rem 0; text-align: left; vertical-align: top; }
"""


@cache
def render_drop_page() -> tuple[str, str]:
    """The page to drop a photo on, and its Content-Security-Policy."""
    html = files("striate.serve").joinpath("page.html").read_text(encoding="utf-8")
    return html, make_policy(html)


def render_documentation(api: dict[str, Any]) -> tuple[str, str]:
    """A page on every path of an OpenAPI description, and its Content-Security-Policy."""
    parts = [f"<h1>{escape(api['info']['title'])} {escape(api['info']['version'])}</h1>"]
    parts.append('<p><a href="/">Drop a photo</a> · <a href="/openapi.json">openapi.json</a></p>')
    for path, methods in api["paths"].items():
        for method, call in methods.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(call['description'])}</p>")
            rows = [
                ("takes", f"<code>{escape(kind)}</code>") for kind in call.get("requestBody", {}).get("content", {})
            ]
            rows += [
                (f"<code>?{escape(given['name'])}=</code>", escape(given.get("description", "")))
                for given in call.get("parameters", [])
            ]
            rows += [(code, escape(answer["description"])) for code, answer in call["responses"].items()]
            parts.append("<table>" + "".join(f"<tr><th>{a}</th><td>{b}</td></tr>" for a, b in rows) + "</table>")
            if path in CURL_EXAMPLES:
                parts.append(f"<pre>{escape(CURL_EXAMPLES[path])}</pre>")
    html = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>striate</title><style>{SERVICE_STYLE}</style>'
    html += f'<meta name="viewport" content="width=device-width"><body>{"".join(parts)}</body></html>'
    return html, make_policy(html)


CURL_EXAMPLES = {
    "/predict": """curl -F file=@photo.jpg http://127.0.0.1:8000/predict
curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8000/predict
curl --json '{"image": "'$(base64 -w0 photo.jpg)'"}' http://127.0.0.1:8000/predict""",
    "/predict/batch": "curl -F files=@a.jpg -F files=@b.jpg 'http://127.0.0.1:8000/predict/batch?top=1'",
}


def make_policy(html: str) -> str:
    """The policy under which a page runs its own scripts and styles, by their hashes, and loads nothing."""

    def hashes(tag: str) -> str:
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found]
        return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; "
        "img-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
