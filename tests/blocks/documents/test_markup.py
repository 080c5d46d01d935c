from __future__ import annotations

import pytest

from blocks.documents import fetch_document
from schemas.bills import Document
from schemas.errors import BadInput
from tasks.analysis.sections import split_sections
from tests.blocks.documents.standard_input import fetch_from_standard_input
from tests.tasks.analysis.real_bills import EXAMPLES

HTML = """<!DOCTYPE html><html><head><title>Bill</title><style>p {color: red}</style></head><body>
<script>var x = "hidden";</script><noscript>hidden</noscript><nav>Home</nav>
<h1>An  Act</h1><!-- hidden -->
<p>Within <del>thirty </del><ins>fourteen</ins>&nbsp;days the <u>owner</u>
<span style="text-decoration:line-through">landlord <s>or agent</s></span> shall<br>pay.<del></del></p>
<table><tr><th>Year</th><th>Share</th></tr><tr><td>1</td><td>2%</td></tr></table>
<ul><li>(a) heat;</li><li>(b) water.</li></ul>
<pre>  SEC. 2. FEES.

    The fee</pre></body></html>"""

DTD_BILL = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE bill PUBLIC "-//US Congress//DTDs/bill.dtd//EN" "bill.dtd">
<?xml-stylesheet type="text/xsl" href="billres.xsl"?>
<bill><metadata><dublinCore>hidden</dublinCore></metadata>
<form><congress>113th CONGRESS</congress><legis-num>H. R. 12</legis-num>
<action><action-desc><sponsor>Mr. Smith</sponsor> introduced the following bill</action-desc></action>
<legis-type>A BILL</legis-type></form>
<legis-body>
<section section-type="section-one"><enum>1.</enum><header>Short title</header>
<text>This Act may be cited as the <quote><short-title>Rent Act</short-title></quote>.</text></section>
<title><enum>I</enum><header>Rents&nbsp;and fees</header>
<section><enum>101.</enum><header>Notice</header>
<subsection><enum>(a)</enum><header>In general</header>
<text>Section 5 of the Act (<external-xref>42 U.S.C. 1437</external-xref>) is amended&#8212;</text>
<paragraph><enum>(1)</enum><text>by striking <quote>30 days</quote>; and</text></paragraph>
<paragraph><enum>(2)</enum><text>by adding at the end the following:</text>
<quoted-block><section><enum>6.</enum><header>Rents</header><text>No owner shall raise the rent.</text></section>
<subsection><enum>(b)</enum><text>A second rule.</text></subsection>
<after-quoted-block>.</after-quoted-block></quoted-block>
</paragraph>
<continuation-text>This applies to <added-phrase>all</added-phrase><deleted-phrase>some</deleted-phrase>
owners.</continuation-text>
</subsection></section></title></legis-body></bill>"""

DTD_TEXT = """113th CONGRESS
H. R. 12
Mr. Smith introduced the following bill
A BILL

SEC. 1. Short title.
This Act may be cited as the “Rent Act”.

TITLE I—Rents and fees

SEC. 101. Notice.
(a) In general.—Section 5 of the Act (42 U.S.C. 1437) is amended—
(1) by striking “30 days”; and
(2) by adding at the end the following:

“SEC. 6. Rents.
No owner shall raise the rent.

“(b) A second rule.”.
This applies to [[added: all]][[struck: some]] owners.
"""

USLM_BILL = """<bill xmlns="http://schemas.gpo.gov/xml/uslm" xmlns:dc="http://purl.org/dc/elements/1.1/">
<meta><dc:title>hidden</dc:title></meta>
<preface><congress value="117">117th CONGRESS</congress></preface>
<main><longTitle><docTitle>A BILL</docTitle><officialTitle>To help tenants.</officialTitle></longTitle>
<title><num value="I">TITLE I—</num><heading>RENTS</heading>
<section><num value="1">SECTION 1. </num><heading>SHORT TITLE.</heading>
<content>This Act may be cited as the “<shortTitle role="act">Rent Act</shortTitle>”.</content></section>
<section><num value="2">SEC. 2. </num><heading>NOTICE.</heading>
<subsection><num value="a">(a) </num><heading>In General</heading><chapeau>.—An owner shall—</chapeau>
<paragraph><num value="1">(1) </num><content>give notice of <del>30</del> <ins>60</ins> days; and</content></paragraph>
<paragraph><num value="2">(2) </num><content><p>post it.</p><p>It stays up.</p></content></paragraph>
<continuation>This applies to all.</continuation></subsection>
<quotedContent><section><num>“SEC. 9. </num><heading>LIMIT.</heading><content>No raise.”.</content></section>
</quotedContent>
</section></title></main></bill>"""

USLM_TEXT = """117th CONGRESS
A BILL
To help tenants.

TITLE I—RENTS

SECTION 1. SHORT TITLE.
This Act may be cited as the “Rent Act”.

SEC. 2. NOTICE.
(a) In General.—An owner shall—
(1) give notice of [[struck: 30]] [[added: 60]] days; and
(2) post it.
It stays up.
This applies to all.

“SEC. 9. LIMIT.
No raise.”.
"""


async def read(text: str | bytes) -> Document:
    return await fetch_from_standard_input(text if isinstance(text, bytes) else text.encode())


async def test_html_gives_its_visible_text_with_what_is_struck_and_added() -> None:
    document = await read(HTML)
    assert document.media_type == "text/html"
    assert document.text == (
        "An Act\n\nWithin [[struck: thirty]] [[added: fourteen]] days the [[added: owner]] "
        "[[struck: landlord or agent]] shall\npay.\n\nYear\tShare\n1\t2%\n\n(a) heat;\n(b) water.\n\n"
        "  SEC. 2. FEES.\n\n    The fee\n"
    )


async def test_underlined_text_is_plain_where_nothing_is_struck() -> None:
    assert (await read("<html><p>the <u>owner</u> pays</p></html>")).text == "the owner pays\n"


async def test_a_bill_of_the_older_dtd_reads_as_it_is_printed() -> None:
    document = await read(DTD_BILL)
    assert (document.media_type, document.text) == ("application/xml", DTD_TEXT)
    labels = [section.label for section in split_sections(document.text)]
    assert labels == ["", "SEC. 1.", "TITLE I", "SEC. 101."]


async def test_a_uslm_bill_reads_as_it_is_printed() -> None:
    document = await read(USLM_BILL)
    assert (document.media_type, document.text) == ("application/xml", USLM_TEXT)


async def test_other_xml_is_read_by_its_structure() -> None:
    xml = (
        '<?xml version="1.0"?><Bill><BillSection><BillSectionNumber>Sec. <Value>2.</Value></BillSectionNumber>'
        "<Caption>Fees.</Caption><P>The fee is <Amount>$40</Amount>.</P><P>It is due.</P></BillSection></Bill>"
    )
    assert (await read(xml)).text == "Sec. 2.\nFees.\nThe fee is $40.\nIt is due.\n"


async def test_xhtml_is_read_as_html() -> None:
    xhtml = (
        '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><body><p>A <b>bold</b> rule.</p></body></html>'
    )
    assert (await read(xhtml)).text == "A bold rule.\n"


@pytest.mark.parametrize(
    "xml",
    [
        '<?xml version="1.0"?><bill><section>',
        '<?xml version="1.0"?><bill>&undefined;</bill>',
        "<bill><a></b></bill>",
        f'<?xml version="1.0"?><bill>{"A rule. " * 40}\x01</bill>',
    ],
)
async def test_broken_xml_is_refused_with_the_line(xml: str) -> None:
    with pytest.raises(BadInput, match=r"not well-formed XML \(line 1\)"):
        await read(xml)


async def test_entities_are_neither_expanded_nor_fetched() -> None:
    bomb = (
        '<?xml version="1.0"?><!DOCTYPE bill [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">'
        '<!ENTITY f SYSTEM "file:///etc/hostname">]>'
        "<bill><section><enum>1.</enum><text>x &b; &f; y</text></section></bill>"
    )
    assert (await read(bomb)).text == "SEC. 1. x &b; &f; y\n"


@pytest.mark.parametrize(
    ("xml", "message"),
    [("<bill/>", "holds no text"), ("<html></html>", "holds no text"), ("<!DOCTYPE html>", "holds no HTML page")],
)
async def test_markup_without_text_is_refused(xml: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        await read(xml)


async def test_deep_nesting_is_read_whole_or_refused() -> None:
    assert (await read("<html><body>" + "<div>" * 2_000 + "deep")).text == "deep\n"
    with pytest.raises(BadInput, match="nested too deeply"):
        await read("<html><body>" + "<div>" * 3_000 + "deep")


async def test_the_amendment_example_shows_what_changes() -> None:
    document = await fetch_document(str(EXAMPLES / "amendment.html"))
    assert "within [[struck: thirty days]] [[added: seven days]] after" in document.text
    assert [section.label for section in split_sections(document.text)] == [
        "", "Section 1.", "§ 14-201.", "Section 2.", "§ 14-205.", "Section 3.", "§ 14-209.", "Section 4.", "§ 14-214.",
        "Section 5.", "Section 6.",
    ]  # fmt: skip


async def test_the_long_example_has_every_section_under_its_title() -> None:
    document = await fetch_document(str(EXAMPLES / "long-bill.xml"))
    sections = split_sections(document.text)
    titles = [section.label for section in sections if section.kind == "division"]
    assert titles == [f"TITLE {number}" for number in ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")]
    assert [section.label for section in sections if section.kind == "amendment"] == ["SEC. 12."]
    own = [section for section in sections if section.kind == "section"]
    assert len(own) == 64
    assert all(section.heading for section in own)
    assert len(document.text) > 25 * 1_950  # characters on a printed page of a bill
