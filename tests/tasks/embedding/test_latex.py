"""LaTeX as Markdown: headings and lists from commands, formulas and code as they stand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.embedding.latex import latex_to_markdown

DOCUMENT = r"""\documentclass{article} % \title{not this}
\title{Na\"{\i}ve trees \\ and \emph{more}}
\begin{document}
\maketitle
\section{B\"aume \label{sec:x}} 100\% sure, see~\cite{knuth} and Erd\H{o}s.
% gone
\begin{itemize}
  \item one, \textbf{bold \emph{both}} $a_1 % why
    + b$
  \item[two] ``quoted'' --- \texttt{x}
\end{itemize}
\begin{theorem}[Cut] If $x < 1$ then
\begin{align}
 a &= b \\ % first
 c &= \text{d}
\end{align}
\end{theorem}
\begin{lstlisting}[language=C]
int x = 5 % 3; // $y$ \emph{no}
\end{lstlisting}
\subsection*{Costs} It costs \$5.\footnote{Or less.}
\end{document}
after"""

MARKDOWN = r"""# Bäume

100% sure, see [knuth] and Erdős.

- one, **bold *both*** $a_1
    + b$
- **two** “quoted” — `x`

**Theorem (Cut).** If $x < 1$ then
\begin{align}
 a &= b \\
 c &= \text{d}
\end{align}

```
int x = 5 % 3; // $y$ \emph{no}
```

## Costs

It costs \$5. (Or less.)
"""


def test_a_document_becomes_markdown_without_preamble_and_comments() -> None:
    content, title = latex_to_markdown(DOCUMENT)
    assert [line.rstrip() for line in content.splitlines() if line.strip()] == [
        line for line in MARKDOWN.splitlines() if line.strip()
    ]
    assert title == "Naïve trees and *more*"


def test_a_part_of_a_document_is_read_too() -> None:
    assert latex_to_markdown("\\section{A}\nOne.\n\\section{B}\n") == ("# A\n\nOne.\n\n# B\n", None)


def test_levels_begin_at_the_highest_that_is_used() -> None:
    content, _ = latex_to_markdown("\\chapter{C}\\section{S}\\paragraph{P} text")
    assert content.split("\n\n") == ["# C", "## S", "### P", "text\n"]


def test_tables_and_unknown_commands_stay_as_they_are() -> None:
    table = "\\begin{tabular}{ll}\na & b \\\\\nc\\_d & e\n\\end{tabular}"
    assert latex_to_markdown(f"Before\n\n{table}\n\n\\mymacro{{x}}")[0] == f"Before\n\n{table}\n\n\\mymacro{{x}}\n"


@pytest.mark.parametrize(
    "hostile", ["{", "\\begin{verbatim}\n", "\\section{", "\\item [", "\\\\", "\\emph{", " ", "$ "]
)
def test_a_command_that_is_never_closed_costs_no_more_than_its_length(hostile: str) -> None:
    assert len(latex_to_markdown(hostile * 20_000)[0]) <= len(hostile) * 20_000 + 1


_SCRAPS = [
    *("\\", "{", "}", "$", "$$", "%", "\n", "a", " ", "[", "]", "\\[", "\\]", "~", "\ue000", "\ue0001\ue001"),
    *("\\begin{x}", "\\end{x}", "\\begin{verbatim}", "\\end{verbatim}", "\\begin{document}", "\\title{"),
    *("\\section{", "\\emph{b}", "\\item "),
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(_SCRAPS)).map("".join))
def test_any_text_is_read_without_a_mark_of_ours_left_in_it(source: str) -> None:
    content, _ = latex_to_markdown(source)
    assert "\ue000" not in content
    assert latex_to_markdown(source)[0] == content
