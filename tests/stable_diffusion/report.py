"""Reads what report.cpp wrote: the page and the plots as HTML and XML, the animations with Pillow."""

import base64
import html.parser
import io
import pathlib
import re
import sys
import xml.etree.ElementTree as xml

try:
    from PIL import Image
except ImportError as missing:
    print(f"skipped, no oracle: {missing}; install Pillow")
    sys.exit(77)

folder = pathlib.Path(sys.argv[1])
hostile = (folder / "prompt.txt").read_text()


def check(holds, what):
    if not holds:
        sys.exit(f"report.py: {what}")


# ---- the page, as a browser sees it ----

class reader(html.parser.HTMLParser):
    tags = {"html", "head", "meta", "link", "title", "style", "body", "h1", "h2", "p", "div", "figure", "figcaption", "img",
            "table", "tr", "th", "td", "svg", "rect", "text", "polyline", "circle"}

    def __init__(self):
        super().__init__()
        self.open, self.words, self.pictures = [], [], []

    def handle_starttag(self, tag, attributes):
        check(tag in self.tags, f"the page has an element {tag}")
        for name, value in attributes:
            check(not name.startswith("on"), f"{tag} has {name}")
            if name in ("src", "href"):
                check(value.startswith("data:"), f"{tag} refers to {value[:40]}")
        if tag == "img":
            self.pictures.append(dict(attributes))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in ("meta", "link", "img"):
            self.open.pop()

    def handle_endtag(self, tag):
        check(self.open and self.open.pop() == tag, f"</{tag}> closes what is not open")

    def handle_data(self, data):
        self.words.append(data)


text = (folder / "page.html").read_text(encoding="utf-8")
page = reader()
page.feed(text)
page.close()
check(not page.open, f"{page.open} are left open")
check("".join(page.words).count(hostile) == 8, "the hostile prompt is not shown as it is wherever it belongs")
check(page.pictures[0]["alt"] == "input " + hostile, "the alternative text is not the caption")
for picture, number, mode in zip(page.pictures, (0, 1), ("RGB", "L")):
    kind, data = picture["src"].split(",", 1)
    image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    kept = Image.open(folder / ("colour0.png" if number == 0 else "grey1.png"))
    check(kind == "data:image/png;base64" and image.mode == mode, "a picture is of another kind")
    check((str(image.width), str(image.height)) == (picture["width"], picture["height"]), "a picture is not in its own size")
    check(image.tobytes() == kept.tobytes(), "a picture has other pixels")
xml.fromstring(text.encode())

# ---- plots: well-formed, and everything inside the drawing ----

plots = sorted(folder.glob("plot*.svg"))
check(len(plots) == 32, f"there are {len(plots)} plots")
for path in plots:
    root = xml.parse(path).getroot()
    _, _, width, height = map(float, root.get("viewBox").split())
    for element in root.iter():
        kind = element.tag.split("}")[1]
        places = {"text": lambda e: [(e.get("x"), e.get("y"))], "circle": lambda e: [(e.get("cx"), e.get("cy"))],
                  "polyline": lambda e: [p.split(",") for p in e.get("points").split()]}.get(kind, lambda e: [])(element)
        for x, y in places:
            check(re.fullmatch(r"[\d.]+", x) and re.fullmatch(r"[\d.]+", y), f"{path.name}: a place {x}, {y}")
            check(float(x) <= width and float(y) <= height, f"{path.name}: {kind} at {x}, {y} is outside")

# ---- animations ----

for name, n, mode in (("colour", 5, "RGB"), ("grey", 5, "L"), ("single", 1, "RGB")):
    animation = Image.open(folder / f"{name}.apng")
    check(getattr(animation, "n_frames", 1) == n, f"{name} has {getattr(animation, 'n_frames', 1)} frames")
    check(animation.info["loop"] == 0, f"{name} does not repeat")
    for i in range(n):
        animation.seek(i)
        animation.load()
        wanted = Image.open(folder / f"{'colour' if mode == 'RGB' else 'grey'}{i}.png")
        check(animation.convert(mode).tobytes() == wanted.tobytes(), f"{name}: frame {i} has other pixels")
        check(animation.info["duration"] == (2500.0 if i == n - 1 else 120.0), f"{name}: frame {i} is shown for {animation.info['duration']} ms")
