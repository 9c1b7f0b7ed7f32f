"""Tokens of OVN's logical language, as ovn-sb(5) describes them for matches and actions.

Numbers keep the form they were written in, because it decides what a mask means and how the number is printed back.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from ytwin.core.errors import Unsupported
from ytwin.logical.addresses import MAC_FORM, ipv4_int, ipv6_int, mac_int, prefix_mask
from ytwin.logical.fields import FORM_WIDTHS, Form


class ParseError(Unsupported):
    """Text outside the supported language (a mistake, or another OVN version's): says what, names the text and the place."""

    def __init__(self, message: str, text: str, position: int) -> None:
        self.message = message
        self.text = text
        self.position = position
        super().__init__(f"{message} at character {position} of `{text}`")


@dataclass(slots=True)
class Token:
    """`kind`: "id", "number", "string", "$" (address set), "@" (port group), "^" (template), "end", or the operator itself."""

    kind: str
    text: str
    """Name, unescaped string, or the source text."""
    start: int
    end: int
    value: int = 0
    mask: int | None = None
    form: Form = Form.DECIMAL

    def is_number(self, form: Form | None = None) -> bool:
        """An unmasked number, in the given form if one is given."""
        return self.kind == "number" and self.mask is None and form in {None, self.form}

    def is_small(self, limit: int = 0x7FFFFFFF) -> bool:
        """A decimal number up to `limit`."""
        return self.is_number(Form.DECIMAL) and self.value <= limit


_TOKEN = re.compile(
    r"""
    (?P<skip>   [ \t\n\r\v\f]+ | //[^\n\0]* | /\*(?:[^\n*]|\*(?!/))*\*/ )
  | (?P<number> (?=[0-9]|::|[a-fA-F][0-9a-fA-F]*:)
                [0-9A-Za-z:]*(?:\.(?!\.)[0-9A-Za-z]*)*
                (?:/[0-9A-Za-z:]*(?:\.(?!\.)[0-9A-Za-z]*)*)? )
  | (?P<id>     [A-Za-z_][A-Za-z0-9_.]* )
  | (?P<string> "(?:[^"\\]|\\.)*" )
  | (?P<name>   [$@^][A-Za-z_.][A-Za-z0-9_.]* )
  | (?P<op>     <-> | == | != | <= | >= | && | \|\| | \.\. | -- | [(){}\[\]<>!,;=:\-] )
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)

_LONGEST_ADDRESS = 45


def _number(text: str) -> tuple[int, Form]:
    """Value and form of an unmasked number; ValueError says what is wrong with it."""
    if not text:
        raise ValueError("a number is expected")
    if MAC_FORM.match(text):
        return mac_int(text), Form.MAC
    if text.isdecimal():
        if len(text) > 1 and text[0] == "0":
            raise ValueError("a decimal number must not have leading zeros")
        if len(text) > len(str(1 << 64)) or int(text) >= 1 << 64:
            raise ValueError("a decimal number must be less than 2**64")
        return int(text), Form.DECIMAL
    if text[:2] in {"0x", "0X"}:
        if not re.fullmatch(r"[0-9a-fA-F]+", text[2:]):
            raise ValueError("hexadecimal digits are expected after 0x")
        digits = text[2:].lstrip("0")
        if len(digits) > 32:
            raise ValueError("a hexadecimal number has at most 128 bits")
        return int(digits or "0", 16), Form.HEX
    if len(text) <= _LONGEST_ADDRESS:
        try:
            return (ipv6_int(text), Form.IPV6) if ":" in text else (ipv4_int(text), Form.IPV4)
        except ValueError:
            pass
    raise ValueError("this is no number, MAC or IP address")


def _masked(value: int, form: Form, mask: int, mask_form: Form) -> tuple[int, int, Form]:
    """Value, mask and form of `value/mask`; bits of the value outside the mask are dropped."""
    bits = mask & 0xFFFFFFFF
    if form is mask_form:
        pass
    elif form in {Form.IPV4, Form.IPV6} and mask_form is Form.DECIMAL and bits <= FORM_WIDTHS[form]:
        mask = prefix_mask(bits, FORM_WIDTHS[form])
    elif form is Form.DECIMAL and mask_form is Form.HEX and value == 0:
        form = Form.HEX
    else:
        raise ValueError("value and mask are written in forms that do not go together")
    return value & mask, mask, form


def _number_token(text: str, start: int, end: int) -> Token:
    digits, slash, mask_text = text.partition("/")
    value, form = _number(digits)
    if not slash:
        return Token("number", text, start, end, value, None, form)
    value, mask, form = _masked(value, form, *_number(mask_text))
    return Token("number", text, start, end, value, mask, form)


def _unquote(raw: str) -> str:
    text = json.loads(raw, strict=False)
    if not isinstance(text, str) or "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError("a character that a name cannot have")
    return text


def tokenize(source: str) -> list[Token]:
    """All tokens of `source`, the last one "end". ParseError names the first character that starts none."""
    tokens: list[Token] = []
    position, end = 0, len(source)
    while position < end:
        match = _TOKEN.match(source, position)
        if match is None:
            raise ParseError(f"no token starts with {source[position]!r}", source, position)
        kind, text, start, position = match.lastgroup, match.group(), position, match.end()
        if kind == "op":
            tokens.append(Token(text, text, start, position))
        elif kind == "id":
            tokens.append(Token("id", text, start, position))
        elif kind == "name":
            tokens.append(Token(text[0], text[1:], start, position))
        elif kind in {"number", "string"}:
            try:
                if kind == "number":
                    tokens.append(_number_token(text, start, position))
                else:
                    tokens.append(Token("string", _unquote(text), start, position))
            except ValueError as error:
                raise ParseError(f"bad {kind} {text!r}: {error}", source, start) from None
    tokens.append(Token("end", "", end, end))
    return tokens


class TokenStream:
    """Tokens with a cursor, and the questions a recursive-descent parser asks."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._tokens = tokenize(source)
        self._index = 0
        self.token = self._tokens[0]

    def look_ahead(self) -> str:
        """Kind of the token after the current one."""
        return self._tokens[min(self._index + 1, len(self._tokens) - 1)].kind

    def take(self) -> Token:
        """The current token; the cursor moves on."""
        token = self.token
        if token.kind != "end":
            self._index += 1
            self.token = self._tokens[self._index]
        return token

    def match(self, kind: str) -> bool:
        """Whether the current token is of that kind; if so, skip it."""
        if self.token.kind != kind:
            return False
        self.take()
        return True

    def match_id(self, name: str) -> bool:
        """Whether the current token is that identifier; if so, skip it."""
        if self.token.kind != "id" or self.token.text != name:
            return False
        self.take()
        return True

    def expect(self, kind: str) -> Token:
        """The current token, which must be of that kind; skip it."""
        if self.token.kind != kind:
            raise self.error(f"`{kind}` is expected")
        return self.take()

    def expect_id(self, name: str) -> None:
        """Skip that identifier, which must be the current token."""
        if not self.match_id(name):
            raise self.error(f"`{name}` is expected")

    def expect_int(self, what: str, limit: int = 0x7FFFFFFF) -> int:
        """A decimal number up to `limit`; skip it."""
        if not self.token.is_small(limit):
            raise self.error(f"{what} is expected (at most {limit})")
        return self.take().value

    def error(self, message: str) -> ParseError:
        """A ParseError at the current token."""
        return ParseError(message, self.source, self.token.start)
