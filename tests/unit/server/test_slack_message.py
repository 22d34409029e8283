"""A message as Slack shows it, and whatever a text holds, as text."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.console.slack_message import message_html
from server.console.slack_text import mrkdwn, plain, visible
from workers.notifications.mrkdwn import escape
from workers.notifications.rendering import render

NAMES = {"U0AVA": "Ava <b>Lindqvist</b>", "C0CRE": "creative"}
LINK = '<a href="{}" rel="noopener noreferrer nofollow" target="_blank">{}</a>'

TAGS = frozenset(
    {"a", "blockquote", "br", "code", "div", "em", "hr", "p", "pre", "s", "span", "strong", "time"}
)
VOID = frozenset({"br", "hr"})
ATTRIBUTES = frozenset({"class", "datetime", "href", "rel", "target", "title"})

# What means something to Slack or to a browser, in any order, between letters of all kinds.
FRAGMENTS = st.sampled_from(
    [
        *"<>&*_~`\"'|^!@#:;=/\\-{}()[] \n\t",
        "```", ">>>", "&lt;", "&gt;", "&amp;", "&#60;", "<b>", "</b>", "<br>", "<!--", "]]>",
        "<@U0AVA>", "<#C0CRE|x>", "<!here>", "<!date^1^{date}|x>", "<http://a.example|", "mailto:",
        "https://b.example/?a=1&b=2", "onclick=", "style=", ":tada:", "\x00", "\x1b", "\x85",
        "\ud800", "\u202e", "é", "日本",
    ]
)  # fmt: skip
TEXTS = st.lists(FRAGMENTS | st.characters(), max_size=40).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["type", "text", "fields", "elements", "accessory", "title", "url", "image_url",
             "alt_text", "verbatim", "placeholder"]
        ),
        inner | st.sampled_from(["section", "mrkdwn", "plain_text", "image", "context", "button"]),
        max_size=6,
    ),
    max_leaves=20,
)  # fmt: skip


class Reader(HTMLParser):
    """What a browser makes of it: text and elements, which have to be ours and closed in turn."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.links: list[str] = []
        self.mentions = 0
        self._open: list[str] = []
        self.feed(str(html))
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        assert tag in TAGS
        assert set(known) <= ATTRIBUTES
        if tag == "a":
            assert (known["href"] or "").lower().startswith(("http://", "https://"))
            self.links.append(known["href"] or "")
        self.mentions += "slack-mention" in (known.get("class") or "")
        self.text += "\n" if tag == "br" else ""
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("*bold*, _italic_, ~gone~", "<strong>bold</strong>, <em>italic</em>, <s>gone</s>"),
        ("*_both_*", "<strong><em>both</em></strong>"),
        ("2*3*4 and snake_case_word", "2*3*4 and snake_case_word"),
        ("* no *, ** neither", "* no *, ** neither"),
        ("*over\ntwo lines*", "*over<br>two lines*"),
        ("*a *b*", "*a <strong>b</strong>"),
        ("`*code* &lt;b&gt;`", "<code>*code* &lt;b&gt;</code>"),
        ("```\nx = 1\n> y\n```\nand", "<pre><code>x = 1\n&gt; y</code></pre>and"),
        ("> one\n&gt; two\nthree", "<blockquote>one<br>two</blockquote>three"),
        ("one\n>>> two\nthree", "one<blockquote>two<br>three</blockquote>"),
        ("> one\n>>> two\n3", "<blockquote>one</blockquote><blockquote>two<br>3</blockquote>"),
        ("> ```a\n> b```", "<blockquote><pre><code>a\nb</code></pre></blockquote>"),
        ("&lt;b&gt; &amp;amp; &quot;", "&lt;b&gt; &amp;amp; &amp;quot;"),
        ("<b>x</b>", "&lt;b&gt;x&lt;/b&gt;"),
        ("<script>", "&lt;script&gt;"),
        ("<!channel>", '<span class="slack-mention slack-broadcast">@channel</span>'),
        ("<#C0CRE>", '<span class="slack-mention" title="C0CRE">#creative</span>'),
        ("<#C0NEW|new>", '<span class="slack-mention" title="C0NEW">#new</span>'),
        ("<!subteam^S01|@design>", '<span class="slack-mention" title="S01">@design</span>'),
        ("<https://a.example/?a=1&amp;b>", LINK.format("https://a.example/?a=1&amp;b",
                                                       "https://a.example/?a=1&amp;b")),
        ("<https://a.example|here & now>", LINK.format("https://a.example", "here &amp; now")),
        ("<javascript:x|y>", "&lt;javascript:x|y&gt;"),
        ("<mailto:ava@a.example|Ava>", "Ava"),
        ("<!date^1392734382^{date_short}|then>",
         '<time datetime="2014-02-18T14:39:42+00:00" title="then">Feb 18, 2014</time>'),
        ("<!date^99999999999999^{date}|then>", "then"),
        (":tada: 10:30:45", '<span class="slack-emoji">:tada:</span> 10:30:45'),
        ("https://a.example", "https://a.example"),
        ("bell\x07", "bell␇"),
    ],
)  # fmt: skip
def test_mrkdwn(text: str, html: str) -> None:
    assert mrkdwn(text, NAMES) == html


def test_names_are_text() -> None:
    shown = mrkdwn("<@U0AVA>", NAMES)
    assert Reader(shown).text == "@Ava <b>Lindqvist</b>"


def test_bare_addresses_become_links_where_slack_makes_some() -> None:
    shown = mrkdwn("See https://a.example/x.", NAMES, verbatim=False)
    assert shown == f"See {LINK.format('https://a.example/x', 'https://a.example/x')}."


def test_a_message_of_many_blocks() -> None:
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": "*Budget*"}},
        {"type": "section", "text": {"type": "mrkdwn", "text": "*91 %*"},
         "fields": [{"type": "mrkdwn", "text": "_a_"}],
         "accessory": {"type": "button", "text": {"type": "plain_text", "text": "Open"},
                       "url": "https://a.example"}},
        {"type": "divider"},
        {"type": "context", "elements": [
            {"type": "image", "image_url": "https://a.example/i.png", "alt_text": "a chart"},
            {"type": "mrkdwn", "text": "by *Ava*"}]},
        {"type": "video"},
        "no block",
    ]  # fmt: skip
    assert message_html("", blocks, NAMES) == (
        '<p class="slack-header">*Budget*</p>'
        '<div class="slack-section"><strong>91 %</strong><div class="slack-fields">'
        '<div class="slack-field"><em>a</em></div></div>'
        + LINK.format("https://a.example", '<span class="slack-button">Open</span>')
        + '</div><hr><p class="slack-context">'
        + LINK.format("https://a.example/i.png", '<span class="slack-image">Image: a chart</span>')
        + " <span>by <strong>Ava</strong></span></p>"
        '<p class="slack-not-drawn">A block of the type “video” is not drawn here.</p>'
        '<p class="slack-not-drawn">A block of the type “” is not drawn here.</p>'
    )


def test_without_blocks_its_text_is_the_message() -> None:
    assert message_html("*x*", [], NAMES) == ('<div class="slack-section"><strong>x</strong></div>')


@given(TEXTS, st.booleans())
def test_no_text_becomes_markup_of_its_own(text: str, verbatim: bool) -> None:
    Reader(mrkdwn(text, NAMES, verbatim=verbatim))


@given(TEXTS, JSON)
def test_no_message_becomes_markup_of_its_own(text: str, blocks: object) -> None:
    Reader(message_html(text, blocks, NAMES))


@given(TEXTS)
def test_what_was_escaped_is_read_as_it_was(text: str) -> None:
    assert Reader(plain(escape(text))).text == visible(text)


@given(TEXTS)
def test_a_value_is_neither_link_nor_mention(value: str) -> None:
    message = render("*{{title}}* by {{title}}", {"title": value}, event_type="comment_added")
    shown = Reader(message_html(message.text, message.blocks, NAMES))
    assert (shown.links, shown.mentions) == ([], 0)


@given(TEXTS)
def test_text_without_markup_is_read_as_it_is(text: str) -> None:
    letters = "".join(char for char in text if char not in "<>&*_~`:")
    assert Reader(mrkdwn(letters, NAMES)).text == visible(letters)
