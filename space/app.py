"""A hosted demo: photos or a video in, a video and splats out; `python space/app.py` runs it here."""

import tempfile
from pathlib import Path

import gradio as gr

import nvs
from geometry.errors import InputError

MINUTES = {"draft": None, "1 minute": 1.0, "4 minutes": 4.0}
MOST_PHOTOS = 60


def make(files: list[str] | None, time: str) -> tuple[str, str, str, str]:
    """Paths of the video, the splats and the contact sheet, and what to think of them."""
    if not files:
        raise gr.Error("Give photos of one place, or a video.")
    if len(files) > MOST_PHOTOS:
        raise gr.Error(f"At most {MOST_PHOTOS} photos here; the program itself has no such limit.")
    out = Path(tempfile.mkdtemp()) / "scene"
    minutes = MINUTES[time]
    quality = {"quality": "draft"} if minutes is None else {"minutes": minutes}
    try:
        rendered = nvs.render(files[0] if len(files) == 1 else files, out, **quality)
    except InputError as error:  # one line that says what to do
        raise gr.Error(str(error)) from error
    verdict = rendered.verdict
    words = "\n".join(
        ("Do not trust these pictures:", *verdict.problems) if verdict.problems else verdict.notes
    )
    rendered.scene.save(out / "scene.spz")
    return str(out / "video.mp4"), str(out / "scene.spz"), str(out / "contact_sheet.png"), words or "Done."


with gr.Blocks(title="Feed-forward novel views") as demo:
    gr.Markdown(
        "# Novel views of your photos\n12 to 50 photos of a still place, a step apart, or a slow video. "
        "The model is `tiny` (Apache-2.0); nothing is kept."
    )
    with gr.Row():
        with gr.Column():
            files = gr.File(
                label="photos, or one video", file_count="multiple", file_types=["image", "video"]
            )
            time = gr.Radio(list(MINUTES), value="1 minute", label="optimise for")
            button = gr.Button("Render", variant="primary")
        with gr.Column():
            video = gr.Video(label="novel views")
            words = gr.Textbox(label="how it went")
            splats = gr.File(label="splats (.spz, for splat viewers)")
            sheet = gr.Image(label="photos, depth, novel views")
    button.click(make, [files, time], [video, splats, sheet, words], concurrency_limit=1)

if __name__ == "__main__":
    demo.launch()
