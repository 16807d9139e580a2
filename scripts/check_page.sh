#!/usr/bin/env bash
# check_page.sh PAGE.html: opens the page in headless Chromium; fails where its console says anything, or where a file
# it names is not there.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# = 1 ] || stop "usage: scripts/check_page.sh PAGE.html"
page=$(realpath -m "$1")
[ -f "$page" ] || stop "$page is not there"
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) ||
  stop "no Chromium: apt-get install chromium"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
timeout 120 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$work/profile" \
  --allow-file-access-from-files --enable-logging=stderr --virtual-time-budget=10000 --dump-dom "file://$page" \
  >"$work/dom" 2>"$work/log" </dev/null || { tail -n 20 "$work/log"; stop "Chromium could not open $page"; }

if grep -a 'CONSOLE' "$work/log"; then stop "the console of $page is not clean (above)"; fi
grep -aqi '</body>' "$work/dom" || stop "$page did not render"

python3 - "$page" "$work/dom" <<'END' || stop "$page names files that are not there (above)"
import html.parser, pathlib, sys, urllib.parse

page, dom = map(pathlib.Path, sys.argv[1:])
missing = []

class Links(html.parser.HTMLParser):
    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name not in ("src", "href") or not value or value.startswith(("data:", "#")):
                continue
            url = urllib.parse.urlparse(value)
            if url.scheme in ("http", "https", "mailto"):
                if tag != "a":
                    missing.append(f"{value} (the page must not need a network)")
            elif not (page.parent / urllib.parse.unquote(url.path)).exists():
                missing.append(value)

Links().feed(dom.read_text(errors="replace"))
print("\n".join(missing), end="\n" if missing else "")
sys.exit(bool(missing))
END
say "$page renders, and its console is clean"
