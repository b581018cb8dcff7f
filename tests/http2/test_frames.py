"""Frames that this server writes, parsed by `hyperframe`."""

from __future__ import annotations

import hyperframe.frame as reference
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.http2 import frames
from workbench.http2.frames import ErrorCode, H2ConnectionError


def parsed(data: bytes) -> reference.Frame:
    found, length = reference.Frame.parse_frame_header(memoryview(data[: frames.HEAD_BYTES]))
    assert len(data) == frames.HEAD_BYTES + length
    found.parse_body(memoryview(data[frames.HEAD_BYTES :]))
    return found


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_535, 65_536, frames.LARGEST_FRAME])
def test_a_frame_says_its_length(size: int) -> None:
    found = parsed(frames.frame(frames.DATA, frames.END_STREAM, 7, bytes(size)))
    assert (found.data, set(found.flags), found.stream_id) == (bytes(size), {"END_STREAM"}, 7)
    assert frames.frame_head(size, frames.DATA, frames.END_STREAM, 7) + found.data == found.serialize()


def test_settings_are_read_as_they_were_written() -> None:
    values = {frames.INITIAL_WINDOW_SIZE: frames.LARGEST_WINDOW, frames.MAX_FRAME_SIZE: 1 << 17}
    assert parsed(frames.settings(values)).settings == values


def test_window_updates_resets_and_goaways_are_read_as_they_were_written() -> None:
    assert parsed(frames.window_update(3, frames.LARGEST_WINDOW)).window_increment == frames.LARGEST_WINDOW
    assert parsed(frames.rst_stream(3, ErrorCode.ENHANCE_YOUR_CALM)).error_code == 0xB
    found = parsed(frames.goaway((1 << 31) - 1, ErrorCode.NO_ERROR, "why, ä"))
    assert (found.last_stream_id, found.error_code, found.additional_data) == ((1 << 31) - 1, 0, "why, ä".encode())


@given(st.binary(max_size=300), st.integers(0, 255))
def test_padding_is_removed(payload: bytes, padding: int) -> None:
    flags = frames.PADDED | frames.END_STREAM
    assert frames.unpadded(bytes((padding,)) + payload + bytes(padding), flags) == payload
    assert frames.unpadded(payload, frames.END_STREAM) == payload


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x05abcd", b"\xff" + bytes(254)])
def test_padding_that_is_longer_than_its_frame_ends_the_connection(payload: bytes) -> None:
    with pytest.raises(H2ConnectionError) as error:
        frames.unpadded(payload, frames.PADDED)
    assert error.value.code == ErrorCode.PROTOCOL_ERROR
