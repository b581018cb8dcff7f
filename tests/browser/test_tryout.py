"""Models of texts and pictures are tried from their cards, and answers are shown as what they are."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from tests.browser.conftest import OpenPage
from tests.browser.jupyter import Jupyter
from tests.browser.panel import Panel, open_panel
from tests.helpers import small_bundles
from workbench.api import Workbench


def picture(colour: tuple[int, int, int] = (200, 40, 30)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(file, "PNG")
    return file.getvalue()


def send(form: Locator) -> None:
    form.get_by_role("button", name="Send").click()


def bars(form: Locator) -> Locator:
    return form.get_by_role("group", name="Answer").get_by_role("listitem")


def test_a_picture_and_a_text_are_tried_and_answered_with_scores(panel: Panel, lab: Jupyter, wb: Workbench) -> None:
    wb.load("pictures", small_bundles.pictures(lab.root))
    form = panel.part("pictures", "Try it")
    expect(form.get_by_role("button", name="Send")).to_be_disabled()
    expect(form.get_by_role("radio")).to_have_count(0)  # neither JSON nor random numbers are a picture
    form.get_by_label("Picture file for image").set_input_files(
        {"name": "sunset.png", "mimeType": "image/png", "buffer": picture()}
    )
    shown = form.get_by_role("img", name="The picture sunset.png")
    expect(shown).to_be_visible()
    assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
    send(form)
    expect(bars(form)).to_contain_text(["red", "green", "blue"])
    expect(bars(form).first).to_have_text(re.compile(r"^red \d\d %$"))
    form.get_by_text("As tensors").click()
    expect(form.locator('[data-tensor="scores"]')).to_be_visible()
    assert panel.barriers() == []

    wb.load("moods", small_bundles.moods(lab.root))
    form = panel.part("moods", "Try it")
    form.get_by_label("text", exact=True).fill("What a good day")
    form.get_by_label("text", exact=True).press("Control+Enter")
    expect(bars(form)).to_have_count(3)
    form.get_by_label("text", exact=True).fill("bad bad")
    send(form)
    expect(bars(form).first).to_have_text(re.compile(r"^negative \d\d %$"))
    assert panel.barriers() == []


@pytest.mark.long
def test_a_pipeline_takes_the_picture_of_its_first_model_and_each_stage_is_a_line(
    panel: Panel, lab: Jupyter, wb: Workbench
) -> None:
    for make in (small_bundles.pictures, small_bundles.moods):
        wb.load(make.__name__, make(lab.root))
    wb.pipeline("both", "pictures >> moods", mapping={"moods.text": "pictures.label"})
    form = panel.part("both", "Try it")
    expect(form.locator('[data-part="stages"]')).to_have_text("Stages: pictures › moods")
    form.get_by_label("Picture file for image").set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": picture()}
    )
    send(form)
    stages = form.get_by_role("list", name="Stages").get_by_role("listitem")
    expect(stages).to_have_text([re.compile(rf"^{name} v1version 1.*s$") for name in ("pictures", "moods")])
    expect(bars(form)).to_contain_text(["neutral", "positive", "negative"])
    assert panel.barriers() == []


@pytest.mark.long
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_what_is_found_in_a_text_is_marked_in_it(lab: Jupyter, wb: Workbench, open_page: OpenPage, dark: bool) -> None:
    for make in (small_bundles.names, small_bundles.answers, small_bundles.vectors):
        wb.load(make.__name__, make(lab.root))
    panel = open_panel(open_page(dark=dark), lab)

    form = panel.part("names", "Try it")
    form.get_by_label("text", exact=True).fill("\N{OWL} Ada was born in London.")
    send(form)
    expect(form.locator("mark")).to_have_text(["Ada PERSON", "London PLACE"])
    form.get_by_label("text", exact=True).fill("it was")
    send(form)
    expect(form.get_by_text("The model found nothing in this text.")).to_be_visible()

    form = panel.part("answers", "Try it")
    form.get_by_label("question").fill("Where?")
    form.get_by_label("context").fill("Ada was born in London, not in Paris.")
    send(form)
    expect(form.locator("mark")).to_have_text("London")
    expect(form.get_by_role("group", name="Answer").locator("strong")).to_have_text("London")

    form = panel.part("vectors", "Try it")
    form.get_by_label("text", exact=True).fill("good bad")
    send(form)
    expect(form.get_by_role("group", name="Answer")).to_have_text("3 numbers: 2, 2, 0")
    assert panel.barriers() == []


@pytest.mark.long
def test_a_picture_is_dropped_and_pasted_and_one_that_is_none_is_said_to_be_none(
    lab: Jupyter, wb: Workbench, open_page: OpenPage
) -> None:
    wb.load("pictures", small_bundles.pictures(lab.root))
    panel = open_panel(open_page(forgive="status of 400"), lab)
    form = panel.part("pictures", "Try it")
    place = form.get_by_role("group", name="image")

    def hand_over(event: str, content: bytes, name: str, kind: str) -> None:
        place.evaluate(HAND_OVER, [event, list(content), name, kind])

    hand_over("drop", b"notes", "notes.txt", "text/plain")
    expect(form.get_by_role("alert")).to_contain_text("notes.txt is no picture: choose a JPEG")
    hand_over("drop", picture((10, 20, 200)), "sea.png", "image/png")
    expect(form.get_by_role("img", name="The picture sea.png")).to_be_visible()
    expect(form.get_by_role("alert")).to_have_count(0)
    send(form)
    expect(bars(form).first).to_contain_text("blue")
    hand_over("paste", picture((10, 220, 30)), "image.png", "image/png")
    send(form)
    expect(bars(form).first).to_contain_text("green")

    hand_over("drop", b"\x89PNG no picture", "broken.png", "image/png")
    expect(form.get_by_role("alert")).to_contain_text("broken.png cannot be shown")
    send(form)
    expect(form.get_by_role("alert").last).to_contain_text("Row 0 is no image that can be read")
    expect(form.get_by_role("group", name="Answer")).to_have_count(0)

    place.evaluate(HAND_OVER, ["drop", 21 << 20, "huge.png", "image/png"])
    expect(form.get_by_role("alert").first).to_contain_text("huge.png has 21.0 MiB, and at most 20 MiB can be tried")
    expect(form.get_by_role("button", name="Send")).to_be_disabled()


HAND_OVER = """(place, [event, content, name, type]) => {
    const bytes = typeof content === "number" ? new Uint8Array(content) : Uint8Array.from(content);
    const files = new DataTransfer();
    files.items.add(new File([bytes], name, { type }));
    const more = event === "paste" ? { clipboardData: files } : { dataTransfer: files };
    const kind = event === "paste" ? ClipboardEvent : DragEvent;
    place.dispatchEvent(new kind(event, { bubbles: true, cancelable: true, ...more }));
}"""
"""What a browser tells a page where a file (zeros, where it is given as their number) is dropped or pasted."""
