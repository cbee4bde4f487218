# ruff: noqa: N802 - the proto names the methods
"""The gRPC methods for search in labels."""

from typing import Any

import grpc

from inkwright.dataset.v1 import search_pb2
from libs.runtime.paging import page_cursor, page_size, page_token
from libs.runtime.times import from_timestamp
from services.dataset import convert
from services.dataset.boxes import box_to_proto
from services.dataset.search import actions as search_actions
from services.dataset.store import Work

Context = grpc.aio.ServicerContext[Any, Any]


class SearchMethods:
    """A part of ``DatasetApi``."""

    def __init__(self, work: Work) -> None:
        self._searched = work

    async def SearchImages(self, request: search_pb2.SearchImagesRequest, context: Context) -> search_pb2.SearchImagesResponse:
        """See the proto."""
        wanted = search_actions.Wanted(
            text=request.text,
            character=request.character,
            state=convert.image_state_from_proto(request.state),
            label_state=convert.label_state_from_proto(request.label_state),
            finding=request.finding,
            folder=request.folder,
            min_boxes=request.min_boxes,
            max_boxes=request.max_boxes if request.HasField("max_boxes") else None,
            changed_since=from_timestamp(request.changed_since) if request.HasField("changed_since") else None,
        )
        dataset, page = await search_actions.search_images(
            self._searched, request.parent, wanted, size=page_size(request), after=page_cursor(request)
        )
        return search_pb2.SearchImagesResponse(
            hits=[
                search_pb2.SearchHit(image=convert.image_to_proto(dataset, image), boxes=[box_to_proto(box) for box in boxes])
                for image, boxes in page.items
            ],
            next_page_token=page_token(request, page.next_cursor),
        )

    async def GrepLabels(self, request: search_pb2.GrepLabelsRequest, context: Context) -> search_pb2.GrepLabelsResponse:
        """See the proto."""
        dataset, grepped = await search_actions.grep_labels(
            self._searched,
            request.parent,
            request.regex,
            size=page_size(request),
            after=page_cursor(request),
            seconds=request.deadline_seconds,
        )
        return search_pb2.GrepLabelsResponse(
            hits=[
                search_pb2.GrepHit(
                    image=dataset.image_name(hit.image_id),
                    key=hit.key,
                    box_id=hit.box.box_id,
                    text=hit.box.text,
                    start=hit.start,
                    end=hit.end,
                )
                for hit in grepped.hits
            ],
            next_page_token=page_token(request, grepped.next_cursor),
            searched_until=grepped.searched_until,
            num_images=grepped.num_images,
        )
