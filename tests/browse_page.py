"""Uses the page of `nyx-hf serve` in a headless Chromium, and takes a picture of it.

python tests/browse_page.py CHROMIUM http://127.0.0.1:8000/page/ OUT.png [QUERY [IMAGE]]
"""

import sys
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright


def main(chromium: str, url: str, out: str, query: str = "a red bicycle", image: str = "") -> None:
    asked: list[str] = []
    errors: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        page.get_by_label("Query").fill(query)
        if image:
            page.locator("input[type=file]").first.set_input_files(image)
            page.get_by_label("Remove Image").first.wait_for()
        page.get_by_role("button", name="Search").click()
        page.locator(".nyx-found li").first.wait_for(timeout=60_000)
        page.wait_for_timeout(500)  # pictures are decoded
        print(page.locator(".nyx-found").inner_text())
        page.screenshot(path=out)
        browser.close()
    home = urlsplit(url).netloc
    print("elsewhere:", [one for one in asked if urlsplit(one).netloc not in (home, "")])
    print("errors:", errors)


if __name__ == "__main__":
    main(*sys.argv[1:])
