"""Called by MkDocs when it builds the site.

Formulas become MathML, which browsers draw without a script; `<!-- fields -->` becomes the list of the fields of
`MirrorDescentConfig`, read off the source.
"""

import ast
import html
import re
from pathlib import Path

from latex2mathml.converter import convert

_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)

_CONFIG = Path(__file__).parents[1] / "k15_plugins" / "trainers" / "config.py"


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put the fields of the config in place of their mark.

    Args:
        markdown: A page.
        **_: What MkDocs passes beside it.
    """
    return markdown.replace("<!-- fields -->", "\n".join(_fields()))


def _fields() -> list[str]:
    fields = [node for node in ast.walk(ast.parse(_CONFIG.read_text())) if isinstance(node, ast.AnnAssign)]
    return [
        f"- **`{ast.unparse(field.target)}`** (`{ast.unparse(field.annotation)}`, default "
        f"`{ast.unparse(field.value.args[0])}`): {ast.literal_eval(field.value.args[1])}"
        for field in fields
        if isinstance(field.value, ast.Call) and ast.unparse(field.value.func) == "knob"
    ]


def on_page_content(content: str, **_: object) -> str:
    """Replace the formulas that the extension arithmatex has marked.

    Args:
        content: A page, as HTML.
        **_: What MkDocs passes beside it.
    """
    content = _INLINE.sub(lambda found: convert(html.unescape(found[1])), content)
    return _BLOCK.sub(lambda found: convert(html.unescape(found[1]), display="block"), content)
