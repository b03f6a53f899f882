"""What a server is told: its limits, how it makes batches, and who may ask."""

from dataclasses import dataclass, field, fields

MIB = 2**20


@dataclass(frozen=True)
class ServingSettings:
    """How a server behaves.

    Attributes:
        name: What the model is called in requests and answers.
        batch_tokens: Most tokens of one batch, padding and visual tokens included; a longer content goes alone.
        batch_items: Most contents of one batch.
        wait_ms: Milliseconds that a content waits for others to join its batch.
        max_queue: Contents that may wait; a request that finds no room gets 429.
        max_requests: Requests that are answered at the same time; further ones get 429.
        max_body: Bytes of one request's body; a larger one gets 413.
        max_held: Bytes of all bodies that are being answered; beyond, requests get 429.
        max_items: Contents of one request.
        max_images: Images of one content, a video's frames counted.
        max_pixels: Pixels of one image.
        max_tokens: Tokens of one content, after its text was cut as the model says.
        timeout: Seconds that a request may take; then it gets 504.
        drain: Seconds that a stop waits for the requests in flight.
        allow_urls: Whether images may be named by http(s) addresses; those of private networks never are.
        token: What clients must send as `Authorization: Bearer …`; None asks for nothing.
    """

    name: str = "nyx"
    batch_tokens: int = 16_384
    batch_items: int = 64
    wait_ms: float = 4.0
    max_queue: int = 1_024
    max_requests: int = 256
    max_body: int = 32 * MIB
    max_held: int = 512 * MIB
    max_items: int = 256
    max_images: int = 64
    max_pixels: int = 16 * MIB
    max_tokens: int = 32_768
    timeout: float = 60.0
    drain: float = 30.0
    allow_urls: bool = False
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuses what no server can keep to."""
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0 and one.name != "wait_ms":
                raise ValueError(f"{one.name} is {value}, expected more than 0")
        if not self.name or not self.name.isprintable():
            raise ValueError(f"name is {self.name!r}, expected printable text: give --name")
        if self.wait_ms < 0:
            raise ValueError(f"wait_ms is {self.wait_ms}, expected 0 or more")
        if self.max_items > self.max_queue:
            raise ValueError(
                f"max_items is {self.max_items} and max_queue {self.max_queue}: a request that fills max_items would "
                "never find room, so give a longer queue"
            )
        if self.max_body > self.max_held:
            raise ValueError(f"max_body is {self.max_body:,} and max_held {self.max_held:,}, expected no less")
        if self.token is not None and (len(self.token) < 8 or not self.token.isascii() or " " in self.token):
            raise ValueError("the token has under 8 characters, or blanks, or others than ASCII: make a longer one")
