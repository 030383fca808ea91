"""The page to give away: a model in one HTML file that anyone can open, on a phone too, without a server."""

from __future__ import annotations

import hashlib
import json

from .joining import ENGINE, format_inline_json, join_modules, read_browser_file, wrap_page, write_engine_scripts
from .payload import Payload

# The browser itself sees to it that the page asks nobody for anything.
GIVEAWAY_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:; worker-src blob:; "
    "style-src 'unsafe-inline'; img-src data: blob:"
)

BODY = """<main>
<header><h1 id="title"></h1><button id="language" type="button"></button></header>
<p id="lead"></p><ul id="classes"></ul>
<section id="take">
<div class="calls"><button id="choose" type="button"></button><button id="camera" type="button"></button></div>
<p id="hint"></p>
<input id="files" type="file" accept="image/*" multiple hidden>
<input id="shots" type="file" accept="image/*" capture="environment" hidden>
</section>
<p id="private"></p><p id="trouble" role="alert"></p>
<section id="results" aria-live="polite"></section>
<section id="table" hidden>
<div><h3 id="all"></h3><button id="save" type="button"></button><button id="clear" type="button"></button></div>
<table><thead><tr id="heads"></tr></thead><tbody id="rows"></tbody></table>
</section>
<footer id="facts"></footer>
</main>"""


def render_giveaway(payload: Payload, more: str = "", policy: str = GIVEAWAY_POLICY) -> str:
    """The page of a payload as HTML; more  what else stands in its head.

    The payload comes last, so that a file that was cut off still has the script that says so.
    """
    body = (
        f"<body>{BODY}{write_engine_scripts()}"
        f'<script type="module">{join_modules("giveaway.js", beside=ENGINE)}</script>'
        f'<script id="payload" type="application/json">{format_inline_json(payload)}</script></body>'
    )
    return wrap_page(find_title(payload), policy, read_browser_file("giveaway.css"), body, more)


def find_title(payload: Payload) -> str:
    return str(payload["card"].get("title") or payload["name"])


ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><rect width="64" height="64" rx="14" fill="#c2550c"/>'
    '<g fill="#fff"><path d="M14 18h8v28h-8z"/><path d="M28 18h8v28h-8z" opacity=".75"/>'
    '<path d="M42 18h8v28h-8z" opacity=".5"/></g></svg>'
)

# Answers from what it kept when it was installed, so that the page opens without the internet.
SERVICE_WORKER = """const kept = "striate-{version}";
self.addEventListener("install", (event) => event.waitUntil(
  caches.open(kept).then((cache) => cache.addAll(["./", "index.html", "manifest.webmanifest", "icon.svg"]))));
self.addEventListener("activate", (event) => event.waitUntil(
  caches.keys().then((names) =>
    Promise.all(names.filter((name) => name !== kept).map((name) => caches.delete(name))))));
self.addEventListener("fetch", (event) => event.respondWith(
  caches.match(event.request).then((found) => found ?? fetch(event.request))));
"""


def render_files(payload: Payload, installable: bool) -> dict[str, str]:
    """The page as index.html; and where it is to be installable its manifest, icon and service worker, by name."""
    if not installable:
        return {"index.html": render_giveaway(payload)}
    name = find_title(payload)
    more = (
        '<link rel="manifest" href="manifest.webmanifest"><link rel="apple-touch-icon" href="icon.svg">'
        '<script>navigator.serviceWorker?.register("sw.js")</script>'
    )
    policy = f"{GIVEAWAY_POLICY} 'self'; manifest-src 'self'".replace("worker-src blob:", "worker-src 'self' blob:")
    page = render_giveaway(payload, more, policy)
    manifest = {
        "name": name, "short_name": name[:12], "start_url": "./", "scope": "./", "display": "standalone",
        "background_color": "#faf8f3", "theme_color": "#c2550c",
        "icons": [{"src": "icon.svg", "sizes": "any", "type": "image/svg+xml", "purpose": "any maskable"}],
    }  # fmt: skip
    worker = SERVICE_WORKER.replace("{version}", hashlib.sha256(page.encode()).hexdigest()[:16])
    return {
        "index.html": page,
        "manifest.webmanifest": json.dumps(manifest, ensure_ascii=False, indent=1),
        "icon.svg": ICON,
        "sw.js": worker,
    }
