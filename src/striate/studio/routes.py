"""The studio's paths: each asks `answers.Studio` one question; an error is a StriateError with status 422."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from ..browser.learn_page import render_learn
from ..errors import StriateError
from ..language import find_language, render_all, say
from . import designing, fixing, jobs, unlabelled
from .answers import Studio
from .page_files import read_any_file, read_page_file

# An image file larger than this is not taken.
MOST_BYTES = 64 * 2**20

CONTENT_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}

routes = APIRouter()


def find_studio(request: Request) -> Studio:
    return request.app.state.studio


Asked = Annotated[Studio, Depends(find_studio)]


def answer_json(found: Any) -> Response:
    return Response(json.dumps(found, ensure_ascii=False, default=str), media_type="application/json")


def answer_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StriateError)
    return JSONResponse(error.as_dict() | {"text": str(error)}, status_code=422)


async def read_body(request: Request) -> bytes:
    """The whole body. Raises StriateError for one that is too large."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MOST_BYTES:
            raise StriateError(
                "image", say("this file is too large"), rule=say("{most} MiB at most", most=MOST_BYTES // 2**20)
            )
    return content


@routes.get("/")
def send_index() -> Response:
    return Response(read_page_file("index.html"), media_type="text/html")


@routes.get("/learn")
def send_course() -> Response:
    return Response(render_learn(in_studio=True), media_type="text/html")


@routes.get("/page/{name}")
def send_page_file(name: str) -> Response:
    kind = CONTENT_TYPES.get(Path(name).suffix)
    if kind is None or "/" in name or "\\" in name or ".." in name or "\0" in name:
        return Response(status_code=404)
    try:
        return Response(read_any_file(name), media_type=kind)
    except (FileNotFoundError, ValueError):
        return Response(status_code=404)


@routes.get("/api/runs")
def list_runs(studio: Asked) -> Response:
    return answer_json(studio.runs())


@routes.get("/api/report")
def send_report(studio: Asked, run: str) -> Response:
    return Response(studio.folder(run).files.report_page.read_bytes(), media_type="text/html")


@routes.get("/api/zoo")
def list_zoo(studio: Asked) -> Response:
    return answer_json(studio.zoo())


@routes.get("/api/text")
def show_text(studio: Asked, run: str | None = None, name: str | None = None) -> Response:
    return answer_json(studio.text_of(run, name))


@routes.get("/api/look")
def look_at_test_image(studio: Asked, run: str, index: int = 0, kept: str | None = None) -> Response:
    """A test image, or where its number is given a look that is kept, as of a drawing."""
    return answer_json(studio.test_image(run, index) if kept is None else studio.looks.again(kept))


@routes.get("/api/network")
def describe_network(studio: Asked, run: str) -> Response:
    return answer_json(render_all(studio.network(run), find_language()))


@routes.get("/api/weights")
def send_weights(studio: Asked, run: str) -> Response:
    return Response(studio.weights(run), media_type="application/octet-stream")


@routes.get("/api/trace")
def trace_address(studio: Asked, look: str, at: str) -> Response:
    return answer_json(studio.looks.trace(look, at))


@routes.get("/api/maps")
def send_maps(studio: Asked, look: str, paths: str, values: bool = False) -> Response:
    return Response(studio.looks.maps(look, paths.split(","), values), media_type="application/octet-stream")


@routes.get("/api/ladder")
def list_ladder(studio: Asked, look: str, at: str, key: str) -> Response:
    return answer_json(studio.looks.ladder(look, at, key))


@routes.get("/api/results")
def show_results(studio: Asked, run: str) -> Response:
    return answer_json(studio.results(run))


@routes.get("/api/audit")
def audit_run(studio: Asked, run: str) -> Response:
    return answer_json(studio.audit(run))


@routes.get("/api/cell")
def list_cell(studio: Asked, run: str, truth: int, predicted: int) -> Response:
    return answer_json(studio.cell(run, truth, predicted))


@routes.get("/api/invariance")
def ask_invariance(studio: Asked, run: str, images: int, shifts: int) -> Response:
    return answer_json(studio.invariance(run, images, shifts))


@routes.get("/api/progress")
def follow_progress(studio: Asked, run: str) -> Response:
    return answer_json(studio.progress.get(run))


@routes.get("/api/attribution")
def attribute_class(studio: Asked, look: str, target: int, method: str) -> Response:
    return answer_json(studio.looks.attribution(look, target, method))


@routes.get("/api/lesion")
def ablate_channel(studio: Asked, look: str, path: str, channel: int) -> Response:
    return answer_json(studio.looks.lesion(look, path, channel))


@routes.get("/api/thumbnail")
def send_thumbnail(studio: Asked, run: str, file: str) -> Response:
    return Response(studio.thumbnail(run, file), media_type="image/png")


@routes.get("/api/choices")
def list_form_choices() -> Response:
    return answer_json(jobs.list_choices())


@routes.post("/api/stop")
def stop_run(studio: Asked, run: str) -> Response:
    studio.jobs.stop(run)
    return answer_json(studio.runs())


@routes.post("/api/resume")
def resume_run(studio: Asked, run: str) -> Response:
    studio.jobs.resume(studio.folder(run))
    return answer_json(studio.runs())


@routes.get("/api/doubtful")
def list_doubtful_images(studio: Asked, run: str) -> Response:
    return answer_json(fixing.list_doubtful(studio, run))


@routes.get("/api/same")
def list_same_images(studio: Asked, run: str) -> Response:
    return answer_json(fixing.list_same(studio, run))


@routes.get("/api/unlabelled")
def list_unlabelled_pictures(studio: Asked, run: str, folder: str) -> Response:
    return answer_json(unlabelled.list_unlabelled(studio, run, folder))


@routes.get("/api/picture")
def send_picture(studio: Asked, run: str, file: str) -> Response:
    content, kind = fixing.show_picture(studio, run, file)
    return Response(content, media_type=kind)


@routes.post("/api/correct")
def correct_label(studio: Asked, run: str, file: str, label: str, reason: str = "") -> Response:
    return answer_json(fixing.say_label(studio, run, file, label, reason))


@routes.post("/api/undo")
def undo_label(studio: Asked, run: str) -> Response:
    return answer_json(fixing.take_back(studio, run))


@routes.post("/api/again")
def train_again(studio: Asked, run: str) -> Response:
    return answer_json({"run": studio.jobs.again(studio.folder(run))})


@routes.post("/api/look")
async def look_at_image(studio: Asked, request: Request, run: str, name: str = "image") -> Response:
    content = await read_body(request)
    return answer_json(await run_in_threadpool(studio.look, run, content, name))


@routes.post("/api/net")
async def check_net(request: Request) -> Response:
    text = (await read_body(request)).decode("utf-8", "replace")
    return answer_json(await run_in_threadpool(designing.describe_text, text))


@routes.post("/api/changes")
async def offer_changes(request: Request) -> Response:
    text = (await read_body(request)).decode("utf-8", "replace")
    return answer_json(await run_in_threadpool(designing.list_changes, text))


@routes.post("/api/field")
async def set_field(request: Request, path: str, field: str, value: str) -> Response:
    """The text of a net with one field of one layer changed."""
    text = (await read_body(request)).decode("utf-8", "replace")
    return answer_json(await run_in_threadpool(designing.set_field_of_text, text, path, field, value))


@routes.post("/api/start")
async def start_run(studio: Asked, request: Request) -> Response:
    try:
        given = json.loads(await read_body(request))
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise StriateError("start", say("what to train comes as a JSON object"), hint='{"data": "digits"}')
    return answer_json({"run": await run_in_threadpool(studio.jobs.start, given)})
