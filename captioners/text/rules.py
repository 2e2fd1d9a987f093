"""Make clean text of what a tokenizer decodes; each rule is a small function whose name goes into provenance.

CLIP's byte-pair encoding splits words, single digits and runs of punctuation apart and forgets where spaces were, so
its decoder writes "it 's a dog , on a 3 . 5 m hat ." `RULES` re-join that: "it's a dog, on a 3.5 m hat." What a rule
cannot know, it guesses the way captions usually are ("t - shirt" was "t-shirt"); what it guesses wrong stays readable.
Applying the rules twice changes nothing more. Tokenizers that keep spaces get `TIDY_RULES` alone. No rule cuts text.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable

Rule = Callable[[str], str]

VERSION = 1
"""Raised whenever a rule changes what it returns; part of a layer's fingerprint."""

# Words that go on after a dash: " - " before one stays a dash, unless a chain goes on ("state - of - the - art").
_PHRASE = (
    r"(?:a|an|the|this|that|these|those|it|its|it's|there|they|he|she|his|her|their|with|which|while|who"
    r"|is|are|was|were|and|or|but|from|as)"
)
# Both ends are looked at, not consumed, so that chains are joined in one pass.
_HYPHEN = re.compile(rf"(?<=\w) - (?!{_PHRASE}\b(?! - ))(?=\w)")
# A single quote after these opens a quotation; after another word in s it is a possessive ("the dogs ' tails").
_SAYING = {"says", "reads", "displays", "spells", "states", "shows", "words", "letters", "signs", "is", "as"}
_PRONOUN = "i|you|he|she|it|we|they|who|what|that|there|this|how|where"
# What each shortened word may follow; otherwise its letters begin a quoted word ("named 'm ax '" was "named 'max'").
_FOLLOWS = {
    "s": re.compile(rf"(?!(?:{'|'.join(sorted(_SAYING - {'is', 'as'}))})$).+"),
    "t": re.compile(r".*n"),
    "m": re.compile(r"i"),
    "d": re.compile(_PRONOUN),
    "ll": re.compile(_PRONOUN),
    "re": re.compile(r"you|we|they|who|what|there|where|how"),
    "ve": re.compile(r"i|you|we|they|who|could|should|would|might|must"),
}
_SHORT = re.compile(r"(?:(?<!\S)|(\w+) )('|' )(s|t|m|d|ll|re|ve)\b( (?=\w))?(?!')")
_ELIDED = r"(?:[dolm]|ma|y|ne|hallowe)"  # o'clock, d'art, l'eau, ma'am, y'all, ne'er, hallowe'en
_ORDINAL = r"(?:st|nd|rd|th)"
# Marks put on a word that closes up to the word before, or after; `drop_control` has removed them from all text.
_LEFT, _RIGHT = "\x00", "\x01"


def drop_control(text: str) -> str:
    """Remove characters that print nothing (control, format, unassigned, replacement); white space becomes a space.

    Joiners stay, because emoji and several scripts need them.
    """
    if text.isprintable() and "\ufffd" not in text:
        return text
    return "".join(" " if character.isspace() else character for character in text if not prints_nothing(character))


def prints_nothing(character: str) -> bool:
    """Whether a character is one that `drop_control` removes."""
    if character.isspace() or character in "\u200c\u200d":
        return False
    return character == "\ufffd" or unicodedata.category(character)[0] == "C"


def collapse_space(text: str) -> str:
    """Leave one space between words and none around the text."""
    return " ".join(text.split())


def join_digits(text: str) -> str:
    """Re-join the digits of a number: "2 0 1 0" -> "2010"; its ending, too: "1 st", "1 9 8 0 s", "3 d", "4 k"."""
    text = re.sub(r"(?<=\d) (?=\d)", "", text)
    return re.sub(rf"(?<=\d) (?=(?:{_ORDINAL}|[sdk])\b(?! '))", "", text)


def join_numbers(text: str) -> str:
    """Re-join a number's parts: "3 . 5", "1 , 000", "10 : 30", "3 / 4", "4 x 4", "$ 5", "50 %", "# 1", "45 °"."""
    if not re.search(r"\d", text):
        return text
    # At most three digits before a decimal point: "in 2010 . 2 dogs" ends a sentence.
    text = re.sub(r"(?<!\d)(\d{1,3}) \. (?=\d)", r"\1.", text)
    text = re.sub(r"(?<=\d) , (?=\d{3}(?!\d))", ",", text)
    text = re.sub(r"(?<=\d) ([:/x]) (?=\d)", r"\1", text)
    text = re.sub(r"([$€£¥#]) (?=\d)", r"\1", text)
    text = re.sub(r"(?<=\d) (?=[%°])", "", text)
    return re.sub(r"(?<=\d°) (?=[cf]\b)", "", text)


def join_contractions(text: str) -> str:
    """Re-join contractions: "it 's", "don 't", "don ' t", "they 're"; undo false ones: "named 'm ax '"."""

    def decide(found: re.Match[str]) -> str:
        before, quote, short, gap = found.group(1) or "", found[2], found[3], found[4] or ""
        if _FOLLOWS[short].fullmatch(before):
            return f"{before}'{short}{gap}"
        if gap and quote == "'":
            return f"{before} ' {short}" if before else f"' {short}"
        return found[0]

    return _SHORT.sub(decide, text) if "'" in text else text


def join_apostrophes(text: str) -> str:
    """Place the lone single quotes left: "o ' clock", "dogs ' tails", and pairs around words: "says ' hi '"."""
    if "'" not in text:
        return text
    text = re.sub(rf"\b({_ELIDED}) ' (?=\w)", r"\1'", text)
    words, opened = text.split(" "), False
    for i, word in enumerate(words):
        if not re.fullmatch(r"'[.,;:!?)]*", word):
            continue
        before = words[i - 1] if i else ""
        if not opened and before.endswith("s") and before not in _SAYING:
            words[i] = _LEFT + word  # a possessive: closes up to the left, opens nothing
        else:
            words[i] = _LEFT + word if opened else word + _RIGHT
            opened = not opened
    return _close_up(" ".join(words))


def join_quotes(text: str) -> str:
    """Close double quotes around what they quote, the first opening, the second closing: 'says " hi " to'.

    Where their number is odd, one after a number means inches: '6 " ruler'.
    """
    if '"' not in text:
        return text
    words, opened = text.split(" "), False
    marks = [i for i, word in enumerate(words) if re.fullmatch(r"[^\w\s\"]*\"[^\w\s\"]*", word)]
    spare = len(marks) % 2 == 1
    for i in marks:
        if spare and not opened and i and words[i - 1][-1:].isdigit():
            words[i] = _LEFT + words[i]
            spare = False
            continue
        words[i] = _LEFT + words[i] if opened or i == len(words) - 1 else words[i] + _RIGHT
        opened = not opened
    return _close_up(" ".join(words))


def join_brackets(text: str) -> str:
    """Close brackets around what they hold: "( left )" -> "(left)"."""
    return re.sub(r" ([)\]}][^\w\s]*)(?= |$)", r"\1", re.sub(r"(^| )([(\[{]+) ", r"\1\2", text))


def join_hyphens(text: str) -> str:
    """Re-join what stands between letters: "t - shirt", "and / or", "m & m"; " - the big one" stays a dash.

    The long dash closes up, too, as most who write it do.
    """
    text = re.sub(r"(?<=\w) ([/\u2014]) (?=\w)", r"\1", text)
    text = re.sub(r"\b(\w) & (?=\w\b)", r"\1&", text)
    return _HYPHEN.sub("-", text)


def join_stops(text: str) -> str:
    """Close stops up to their word: "a dog , on a hat ." -> "a dog, on a hat."; "u . s ." -> "u.s."; "x . com"."""
    # A colon or semicolon with more after it may be a face, ":)"; it closes up only alone or before a quote.
    text = re.sub(r"(?<=\S) ([,.!?…][^\w\s]*|[;:][\"']?)(?= |$)", r"\1", text)
    text = re.sub(r"(?<!\S)(\w)\. (?=\w\.)", r"\1.", text)
    text = re.sub(r"(?<=\.\w\.) (?=\w\.)", "", text)
    return re.sub(r"(?<=\w)\. (?=(?:com|org|net|edu|gov)\b)|(?<=\bwww)\. ", ".", text)


def _close_up(text: str) -> str:
    return text.replace(f" {_LEFT}", "").replace(f"{_RIGHT} ", "").replace(_LEFT, "").replace(_RIGHT, "")


TIDY_RULES: tuple[Rule, ...] = (drop_control, collapse_space)
"""For text whose spaces can be trusted."""

RULES: tuple[Rule, ...] = (
    *TIDY_RULES,
    join_digits,
    join_contractions,
    join_apostrophes,
    join_hyphens,
    join_numbers,
    join_brackets,
    join_quotes,
    join_stops,
)
"""For text decoded from CLIP's byte-pair encoding, in the order they are applied."""


def rules_for(keeps_spaces: bool) -> tuple[Rule, ...]:
    """Return the rules for a tokenizer's text; `keeps_spaces` is the tokenizer's own word on it."""
    return TIDY_RULES if keeps_spaces else RULES


def names_of(rules: Iterable[Rule]) -> list[str]:
    """Return the rules' names, for provenance."""
    return [rule.__name__ for rule in rules]


def clean(text: str, rules: Iterable[Rule] = RULES) -> str:
    """Apply the rules in order.

    >>> clean("it 's a dog , on a hat .")
    "it's a dog, on a hat."
    """
    for rule in rules:
        text = rule(text)
    return text
