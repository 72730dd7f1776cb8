"""Make the page that `.html` exports are written into: PlayCanvas' SuperSplat viewer, minified, in one file.

    python scripts/bundle_viewer.py        # needs node 20 or newer, npm and its registry

The versions are pinned in `nvs.gaussians.files.html`; a new one needs its checksum there, which is printed.
"""

import gzip
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from nvs.gaussians.files.html import PAGE, PAGE_SHA256, VIEWER_VERSION

ESBUILD_VERSION = "0.28.2"
# The viewer's own function makes the page; WebGL 2 comes first, as that is what the tests look at.
MAKE = """
import { readFileSync, writeFileSync } from 'node:fs';
import { transformSync } from 'esbuild';
import { js, renderViewerHtml } from '@playcanvas/supersplat-viewer';

const swap = (text, old, made) => {
    if (text.split(old).length !== 2) throw new Error(`expected once in the page: ${old.slice(0, 60)}`);
    return text.replace(old, () => made);
};
const licence = readFileSync('node_modules/@playcanvas/supersplat-viewer/LICENSE', 'utf8');
const bundle = js.replace(/\\n\\/\\/# sourceMappingURL=\\S+\\s*$/, '\\n');
const how = { minify: true, target: 'es2022', format: 'esm', logLevel: 'error' };
const small = transformSync(bundle, how).code;
if (/<\\/script|<!--|<script/i.test(small)) throw new Error('the bundle cannot stand inside a page');
const at = small.lastIndexOf('export{');
const local = small.slice(at).match(/export\\{(\\w+) as createViewer\\}/)[1];
let page = renderViewerHtml({ inlineCss: true, inlineJs: true });
page = swap(page, bundle, `${small.slice(0, at)}const createViewer=${local};`);
page = swap(page, "has('webgl') ? 'webgl' : 'webgpu'", "has('webgpu') ? 'webgpu' : 'webgl'");
const start = '<html lang="en">';
page = swap(page, start, `${start}\\n<!-- The viewer in this file, and its engine:\\n\\n${licence}-->`);
writeFileSync('page.html', page);
writeFileSync('LICENSE', licence);
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        packages = [f"@playcanvas/supersplat-viewer@{VIEWER_VERSION}", f"esbuild@{ESBUILD_VERSION}"]
        subprocess.run(["npm", "install", "--silent", "--no-save", *packages], cwd=folder, check=True)
        (folder / "make.mjs").write_text(MAKE)
        subprocess.run(["node", "make.mjs"], cwd=folder, check=True)
        page = (folder / "page.html").read_bytes()
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_bytes(gzip.compress(page, 9, mtime=0))
        (PAGE.parent / "LICENSE").write_bytes((folder / "LICENSE").read_bytes())
    checksum = hashlib.sha256(page).hexdigest()
    print(f"{PAGE}: {len(page):,} bytes, sha256 {checksum}")
    if checksum != PAGE_SHA256:
        print(f"expected sha256 {PAGE_SHA256}: another version? write it into nvs/gaussians/files/html.py")
    return int(checksum != PAGE_SHA256)


if __name__ == "__main__":
    sys.exit(main())
