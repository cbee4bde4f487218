"""The public API in the OpenAPI document."""

from typing import Any

from gateway.public.codes import GET_INSTANCE_ERROR, IMAGE_DECODE_ERROR, INPUT_FORMAT_ERROR, MODEL_FORWARD_ERROR, UNKNOWN_ERROR
from gateway.public.predict import TEMPLATE
from gateway.transcode.openapi import path_parameters
from gateway.transcode.schemas import Schema

_PAIR: Schema = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_FOUR_PAIRS: Schema = {"type": "array", "items": _PAIR, "minItems": 4, "maxItems": 4}
_CODES = (INPUT_FORMAT_ERROR, IMAGE_DECODE_ERROR, UNKNOWN_ERROR, GET_INSTANCE_ERROR, MODEL_FORWARD_ERROR)
_OUTCOME: Schema = {
    "success": {"type": "boolean"},
    "result": {"$ref": "#/components/schemas/PredictResult"},
    "errorCode": {"type": "integer", "description": f"{', '.join(str(code.number) for code in _CODES)}, or the HTTP status."},
    "errorMsg": {"type": "string", "description": f"{', '.join(code.constant for code in _CODES)}, or a word for the HTTP status."},
    "errorDetail": {"type": "string", "description": "A sentence that says what to do next."},
}

SCHEMAS: dict[str, Schema] = {
    "PredictRequest": {
        "type": "object",
        "required": ["dataArray"],
        "properties": {
            "dataArray": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["body"],
                    "properties": {
                        "name": {"type": "string"},
                        "type": {"type": "string", "enum": ["stream"], "default": "stream"},
                        "body": {"type": "string", "contentEncoding": "base64", "description": "A JPG, PNG or BMP file."},
                    },
                },
            }
        },
    },
    "PredictResult": {
        "type": "object",
        "required": ["output", "meta"],
        "properties": {
            "output": {
                "type": "array",
                "description": "Lines of text in reading order.",
                "items": {
                    "type": "object",
                    "properties": {
                        "label": {"type": "string", "description": "The text."},
                        "conf": {"type": "number", "minimum": 0, "maximum": 1},
                        "pos": {**_FOUR_PAIRS, "description": "Upper left, upper right, lower right, lower left; x and y in 0 to 1."},
                        "polygon": {**_FOUR_PAIRS, "description": "The same in pixels."},
                    },
                },
            },
            "meta": {"type": "object", "properties": {"height": {"type": "integer"}, "width": {"type": "integer"}}},
            "timings": {"type": "object", "additionalProperties": {"type": "number"}, "description": "Milliseconds."},
        },
    },
    "PredictAnswer": {
        "type": "object",
        "required": ["requestId", "success"],
        "properties": {
            "requestId": {"type": "string"},
            **_OUTCOME,
            "results": {
                "type": "array",
                "description": "Only for several elements, in the order of the request.",
                "items": {"type": "object", "properties": {"name": {"type": "string"}, **_OUTCOME}},
            },
        },
    },
}


def openapi_paths() -> dict[str, dict[str, Any]]:
    """The path item."""
    answer = {"application/json": {"schema": {"$ref": "#/components/schemas/PredictAnswer"}}}
    return {
        TEMPLATE: {
            "post": {
                "operationId": "Predict",
                "tags": ["Public API"],
                "description": "Reads images. The body is JSON whatever the Content-Type says.",
                "security": [{"deploymentToken": []}],
                "parameters": path_parameters(("deployment",)),
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/PredictRequest"}}},
                },
                "responses": {
                    "200": {"description": "At least one element was read.", "content": answer},
                    "default": {"description": "None was.", "content": answer},
                },
            }
        }
    }
