"""The bodies of the OpenAI-style calls that a job may carry, as closed lists of fields.

Names, types and bounds are those of OpenAI's API reference for `/v1/chat/completions` and `/v1/embeddings`.
What is optional there may be null here. Nothing is converted: a number in quotation marks is no number.
Whether a model takes a content part, and at what price, the price book says.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Record

MESSAGES_MAX = 10_000
PARTS_MAX = 1_000
TOOLS_MAX = 128
INPUTS_MAX = 2_048
TOKENS_MAX = 2**31 - 1


class Body(Record):
    model_config = ConfigDict(strict=True)


def _form(value: Any) -> str:
    return "text" if isinstance(value, str) else "other"


Text = Annotated[str, Tag("text")]
Form = Discriminator(_form)
"""Told apart by sight, so that a fault is looked for in one branch alone."""

Tokens = Annotated[int, Field(ge=1, le=TOKENS_MAX)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
TokenName = Annotated[str, Field(pattern=r"^[0-9]{1,10}$")]
"""A token's id. Other text would go out unread."""
FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class TextPart(Body):
    type: Literal["text"]
    text: str


class RefusalPart(Body):
    type: Literal["refusal"]
    refusal: str


class ImageUrl(Body):
    url: str
    """An address or a data URL; the broker never fetches it."""
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(Body):
    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(Body):
    data: str
    """Base64."""
    format: Literal["wav", "mp3"]


class AudioPart(Body):
    type: Literal["input_audio"]
    input_audio: InputAudio


class File(Body):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class FilePart(Body):
    type: Literal["file"]
    file: File


UserPart = Annotated[TextPart | ImagePart | AudioPart | FilePart, Field(discriminator="type")]
AssistantPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]
TextParts = Annotated[list[TextPart], Field(min_length=1, max_length=PARTS_MAX, fail_fast=True), Tag("other")]
UserParts = Annotated[list[UserPart], Field(min_length=1, max_length=PARTS_MAX, fail_fast=True), Tag("other")]
AssistantParts = Annotated[
    list[AssistantPart], Field(min_length=1, max_length=PARTS_MAX, fail_fast=True), Tag("other")
]
TextContent = Annotated[Text | TextParts, Form]
UserContent = Annotated[Text | UserParts, Form]
AssistantContent = Annotated[Text | AssistantParts, Form]


class CalledFunction(Body):
    name: FunctionName
    arguments: str


class ToolCall(Body):
    id: str
    type: Literal["function"]
    function: CalledFunction


class DeveloperMessage(Body):
    role: Literal["developer"]
    content: TextContent
    name: str | None = None


class SystemMessage(Body):
    role: Literal["system"]
    content: TextContent
    name: str | None = None


class UserMessage(Body):
    role: Literal["user"]
    content: UserContent
    name: str | None = None


class AssistantMessage(Body):
    role: Literal["assistant"]
    content: AssistantContent | None = None
    refusal: str | None = None
    name: str | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=TOOLS_MAX, fail_fast=True)] | None = None


class ToolMessage(Body):
    role: Literal["tool"]
    content: TextContent
    tool_call_id: str


Message = Annotated[
    DeveloperMessage | SystemMessage | UserMessage | AssistantMessage | ToolMessage,
    Field(discriminator="role"),
]


class Function(Body):
    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Body):
    type: Literal["function"]
    function: Function


class NamedFunction(Body):
    name: FunctionName


class NamedTool(Body):
    type: Literal["function"]
    function: NamedFunction


class PlainFormat(Body):
    type: Literal["text", "json_object"]


class JsonSchema(Body):
    name: FunctionName
    description: str | None = None
    definition: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class JsonSchemaFormat(Body):
    type: Literal["json_schema"]
    json_schema: JsonSchema


def _whole(stream: bool) -> bool:
    if stream:
        raise PydanticCustomError("streamed", "must be false: answers come whole")
    return stream


class ChatBody(Body):
    """The body of a call to `/v1/chat/completions`. At most one of the two output limits may stand in it."""

    model: str = Field(min_length=1, max_length=128)
    messages: list[Message] = Field(min_length=1, max_length=MESSAGES_MAX, fail_fast=True)
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    stop: Annotated[Text | Annotated[list[str], Field(max_length=4), Tag("other")], Form] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: (
        Annotated[dict[TokenName, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=1_024)] | None
    ) = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: Annotated[PlainFormat | JsonSchemaFormat, Field(discriminator="type")] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stream: Annotated[bool, AfterValidator(_whole), Field(json_schema_extra={"const": False})] | None = None
    tools: Annotated[list[Tool], Field(max_length=TOOLS_MAX, fail_fast=True)] | None = None
    tool_choice: (
        Annotated[
            Annotated[Literal["none", "auto", "required"], Tag("text")] | Annotated[NamedTool, Tag("other")],
            Form,
        ]
        | None
    ) = None
    parallel_tool_calls: bool | None = None
    user: Annotated[str, Field(max_length=512)] | None = None
    metadata: (
        Annotated[
            dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
            Field(max_length=16),
        ]
        | None
    ) = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    service_tier: Literal["auto", "default", "flex", "priority"] | None = None

    @model_validator(mode="after")
    def _one_output_limit(self) -> Self:
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise PydanticCustomError("two_limits", "max_tokens and max_completion_tokens exclude each other")
        return self


TokenId = Annotated[int, Field(ge=0, le=TOKENS_MAX)]
Texts = Annotated[list[str], Field(min_length=1, max_length=INPUTS_MAX, fail_fast=True), Tag("texts")]
TokenIds = Annotated[list[TokenId], Field(min_length=1, fail_fast=True), Tag("tokens")]
TokenLists = Annotated[
    list[Annotated[list[TokenId], Field(min_length=1, fail_fast=True)]],
    Field(min_length=1, max_length=INPUTS_MAX, fail_fast=True),
    Tag("token lists"),
]


def _input_form(value: Any) -> str:
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, int):
        return "tokens"
    if isinstance(first, list):
        return "token lists"
    return "texts" if isinstance(value, list) else "text"


class EmbeddingsBody(Body):
    """The body of a call to `/v1/embeddings`: a text, texts, one text as token ids, or several as such."""

    model: str = Field(min_length=1, max_length=128)
    input: Annotated[
        Annotated[str, Field(min_length=1), Tag("text")] | Texts | TokenIds | TokenLists,
        Discriminator(_input_form),
    ]
    dimensions: Annotated[int, Field(ge=1, le=TOKENS_MAX)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: Annotated[str, Field(max_length=512)] | None = None
