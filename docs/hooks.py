"""Called by MkDocs when it builds the site.

Pages are written to be read on GitHub too. For the site, formulas become MathML, which browsers draw without a script;
`<!-- fields -->` becomes the list of the fields of `MirrorDescentConfig`, read off the source; what is between
`<!-- github -->` and `<!-- /github -->` is left out; and a link to a Python file leads to a page that shows it.
"""

import ast
import html
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
_GITHUB_ONLY = re.compile(r"<!-- github -->.*?<!-- /github -->\n*", re.DOTALL)
_CODE = re.compile(r"\]\(((?:\.\./)+)([\w/]+)\.py\)")

_ROOT = Path(__file__).parents[1]
_CONFIG = _ROOT / "k15_plugins" / "trainers" / "config.py"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each Python file that a page links to; a file that is missing ends the build.

    Args:
        files: All pages of the site.
        config: What `mkdocs.yml` says.
    """
    pages = [file for file in files if file.is_documentation_page()]
    linked = {path for page in pages for _, path in _CODE.findall(page.content_string)}
    for path in sorted(linked):
        source = (_ROOT / f"{path}.py").read_text()
        text = f"---\nsearch: {{exclude: true}}\n---\n# {path}.py\n\n````python\n{source}````\n"
        files.append(File.generated(config, f"code/{path}.md", content=text))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put the fields of the config in place of their mark, and turn what is for GitHub into what is for the site.

    Args:
        markdown: A page.
        **_: What MkDocs passes beside it.
    """
    markdown = _GITHUB_ONLY.sub("", markdown)
    # A page in docs/ links to ../k15_plugins, one in docs/results/ to ../../k15_plugins: one step up leaves docs/.
    markdown = _CODE.sub(lambda found: f"]({found[1].removesuffix('../')}code/{found[2]}.md)", markdown)
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
