"""The page in headless Chromium: quiet, offline, sortable, filterable, usable by keyboard, readable at 400 px."""

import pytest
from chromium_driver import Browser, find_chromium
from page_fakes import full_records, page_of
from reports_fakes import RANDOM_FAMILY, few_records, key_of, record

COMMAND = find_chromium()
pytestmark = pytest.mark.skipif(COMMAND is None, reason="no Chromium here (Debian: apt-get install chromium)")

CONTROLS = "#table-controls_log_g"
HEADS = "#table-heads_log_g"
VISIBLE = "[...document.querySelectorAll('{0}')].filter(e => e.offsetParent !== null)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    running = Browser(COMMAND, tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page_of(full_records(), figures=2))
    return file


@pytest.fixture
def page(browser, path):
    browser.open(path)
    yield browser
    assert browser.problems == []
    assert set(browser.requests) <= {path.resolve().as_uri(), "data:"}


def texts(browser, selector):
    return browser.evaluate(VISIBLE.format(selector) + ".map(e => e.textContent.trim())")


def column(browser, table, heading):
    """Texts of the visible cells under a heading."""
    return browser.evaluate(
        f"(() => {{ const t = document.querySelector('{table} table');"
        f"const k = [...t.tHead.rows[0].cells].findIndex(c => c.textContent.startsWith('{heading}'));"
        "return [...t.tBodies[0].rows].filter(r => r.offsetParent !== null)"
        ".map(r => r.cells[k].textContent.trim()); })()"
    )


def press_until(browser, expression, *, most=300):
    """Press Tab until an expression about the focused element holds; how many presses it took."""
    for count in range(1, most + 1):
        browser.press("Tab")
        if browser.evaluate(expression):
            return count
    raise AssertionError(f"{most} times Tab never reached {expression}")


def heading(browser, table, words):
    return browser.evaluate(
        f"[...document.querySelectorAll('{table} .sort')].findIndex(e => e.textContent.startsWith('{words}'))"
    )


def test_numbers_sort_down_up_and_back(page):
    page.click(f"{CONTROLS} .tools button")
    index = heading(page, CONTROLS, "test MAE")
    before = column(page, CONTROLS, "test MAE")
    state = f"document.querySelectorAll('{CONTROLS} th')[{index}].getAttribute('aria-sort')"
    orders = []
    for expected in ("descending", "ascending", None):
        page.click(f"{CONTROLS} .sort", index)
        assert page.evaluate(state) == expected
        orders.append(column(page, CONTROLS, "test MAE"))
    numbers = [[float(text) for text in order if text != "-"] for order in orders]
    assert numbers[0] == sorted(numbers[0], reverse=True)
    assert numbers[1] == sorted(numbers[1])
    assert orders[0][-1] == orders[1][-1] == "-"
    assert orders[2] == before


def test_one_heading_sorts_at_a_time(page):
    for words in ("layer", "head"):
        page.click(f"{CONTROLS} .sort", heading(page, CONTROLS, words))
    assert page.evaluate(f"document.querySelectorAll('{CONTROLS} [aria-sort]').length") == 1
    heads = column(page, CONTROLS, "head")
    assert heads == sorted(heads)


def test_long_tables_are_cut_until_asked_for(page):
    rows = column(page, CONTROLS, "row")
    assert len(rows[:12]) == 12
    assert sorted(rows[12:]) == ["mean predictor", "random encoder", "shuffled labels"]
    (count,) = texts(page, f"{CONTROLS} output")
    assert count.endswith("rows: the first 12, and the first of each other baseline and control")
    page.click(f"{CONTROLS} .tools button")
    n = len(column(page, CONTROLS, "row"))
    assert n > 15
    assert texts(page, f"{CONTROLS} output") == [f"{n} of {n} rows"]


def test_words_filter_rows(page):
    page.evaluate(f"document.querySelector('{CONTROLS} input').focus()")
    for character in "ENC_LAST mlp":
        page.press(character)
    layers, heads = column(page, CONTROLS, "layer"), column(page, CONTROLS, "head")
    assert set(layers) == {"enc_last"}
    assert set(heads) == {"mlp_1"}
    assert texts(page, f"{CONTROLS} output")[0].startswith(f"{len(layers)} of ")
    page.evaluate(
        f"(() => {{ const i = document.querySelector('{CONTROLS} input');"
        "i.value = 'nothing like it'; i.dispatchEvent(new Event('input')); })()"
    )
    assert column(page, CONTROLS, "layer") == []
    assert texts(page, f"{CONTROLS} output")[0].startswith("0 of ")


def test_a_row_shows_its_record(page):
    run = page.evaluate(f"document.querySelector('{CONTROLS} tbody tr').dataset.run")
    page.click(f"{CONTROLS} tbody td")
    assert page.evaluate("document.querySelector('dialog').open")
    shown = dict(zip(texts(page, "dialog dt"), texts(page, "dialog dd"), strict=True))
    assert f"r-{shown['record'][:16]}" == run
    assert {"features", "head", "params", "stores", "weights"} <= set(shown)
    page.press("Escape")
    assert not page.evaluate("document.querySelector('dialog').open")


def test_a_number_of_a_pivot_shows_its_record(page):
    page.click(f"{HEADS} a.run")
    shown = dict(zip(texts(page, "dialog dt"), texts(page, "dialog dd"), strict=True))
    number = page.evaluate(f"document.querySelector('{HEADS} a.run').textContent").split()[0]
    assert f"test R2 {float(number):.4f}"[:-1] in shown["scores log_g"]


def test_the_record_is_copied_as_text(page):
    page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.click(f"{CONTROLS} a.run")
    page.click("dialog .copy")
    page.wait("document.querySelector('dialog .copy').textContent === 'Copied'")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.splitlines()[0].startswith("record: ")
    assert '\nparams: {"alpha": 0.001}\n' in copied


def test_the_keyboard_is_enough(page):
    press_until(page, "document.activeElement.className === 'skip'", most=1)
    press_until(page, "document.activeElement.className === 'theme'", most=2)
    page.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    press_until(page, "document.activeElement.className === 'sort'", most=60)
    page.press("Enter")
    assert page.evaluate(f"document.querySelector('{CONTROLS} [aria-sort]') !== null")
    press_until(page, "document.activeElement.matches('td a.run')")
    focused = page.evaluate("document.activeElement.hash")
    page.press("Enter")
    assert page.evaluate("document.querySelector('dialog').open")
    assert page.evaluate("document.activeElement.className") == "close"
    page.press("Escape")
    assert page.evaluate("document.activeElement.hash") == focused


def test_figures_enlarge_on_enter_and_close_on_escape(page):
    page.evaluate("document.querySelector('.zoom').focus()")
    page.press("Enter")
    small, large = page.evaluate(
        "[...document.querySelectorAll('.zoom img, dialog img')].map(e => e.getBoundingClientRect().width)"
    )[::2]
    assert large > small
    assert texts(page, "dialog h2, dialog figcaption") == ["story 0", "drawn 0"]
    page.press("Escape")
    assert page.evaluate("document.activeElement.className") == "zoom"


def test_labels_are_shown_one_at_a_time(page):
    assert len(texts(page, "section.label")) == 1
    current = "document.querySelector('.labels [aria-current]').textContent"
    page.click(".labels a", 1)
    page.wait(f"{current} === 'T_eff'")
    assert page.evaluate(VISIBLE.format("section.label") + ".map(e => e.ariaLabel)") == ["T_eff"]
    page.evaluate("history.back()")
    page.wait(f"{current} === 'log_g'")
    assert page.evaluate(VISIBLE.format("section.label") + ".map(e => e.ariaLabel)") == ["log_g"]


def test_a_theme_is_chosen_and_kept(page, path):
    for name, color in (("light", "rgb(251, 251, 249)"), ("dark", "rgb(20, 24, 28)")):
        page.evaluate(
            f"while (document.documentElement.dataset.theme !== '{name}') document.querySelector('.theme').click()"
        )
        page.open(path)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == color
    page.click(".theme")
    assert page.evaluate("document.documentElement.dataset.theme") is None


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast(page, path, dark):
    """WCAG 2.1, 1.4.3: contrast of 4.5 between text and what is behind it, for every visible text."""
    page.open(path, dark=dark)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    poor = page.evaluate(CONTRAST)
    assert poor == []


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_scrolls_sideways_but_tables(page, path, width):
    page.open(path, width=width, height=800)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    for index in range(page.evaluate("document.querySelectorAll('.labels a').length")):
        page.click(".labels a", index)
        page.wait(f"document.querySelectorAll('.labels a')[{index}].hasAttribute('aria-current')")
        assert page.evaluate("document.documentElement.scrollWidth") == width
    page.evaluate("document.querySelector('a.run').click()")
    assert page.evaluate("document.querySelector('dialog').scrollWidth") <= width


def test_without_scripts_everything_is_there(page, path):
    page.open(path, scripts=False)
    assert page.evaluate("document.documentElement.className") == ""
    for selector in ("section.label", "tbody tr", "figure img", "details.record"):
        count = page.evaluate(f"document.querySelectorAll('{selector}').length")
        assert page.evaluate(VISIBLE.format(selector) + ".length") == count > 0
    assert texts(page, ".tools, .theme, .sort, .zoom, dialog, .hint") == []
    run = page.evaluate(f"document.querySelector('{CONTROLS} a.run').hash")
    assert page.evaluate(f"document.querySelector('{run}').matches('details.record')")


def test_print_shows_everything_and_no_controls(page):
    page.call("Emulation.setEmulatedMedia", media="print")
    try:
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert len(texts(page, "section.label")) == page.evaluate(
            "document.querySelectorAll('section.label').length"
        )
        rows = "document.querySelectorAll('tbody tr').length"
        assert page.evaluate(VISIBLE.format("tbody tr") + ".length") == page.evaluate(rows)
        assert texts(page, ".tools, .theme, .labels, .jump, .sort") == []
        headings = page.evaluate("[...document.querySelectorAll('th[data-title]')].map(e => e.dataset.title)")
        assert "test R2 (95 % interval)" in headings
        assert page.evaluate("document.querySelectorAll('details:not([open])').length") == 0
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.evaluate("document.querySelectorAll('details[open]').length") == 0
    finally:
        page.call("Emulation.setEmulatedMedia", media="")


def test_hostile_names_run_nothing(browser, tmp_path):
    hostile = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    hostile += "x" * 200
    odd = [record(pooling=hostile, flags=(hostile,)), record(failed=hostile, head=hostile)]
    path = tmp_path / "odd.html"
    path.write_text(page_of(odd))
    browser.open(path, width=400)
    assert browser.evaluate("document.documentElement.scrollWidth") == 400
    assert browser.evaluate("document.title") == "What does the frozen encoder know?"
    assert browser.problems == []
    assert browser.requests == [path.resolve().as_uri()]


def test_stale_rows_look_stale(browser, tmp_path):
    gone = key_of("test", RANDOM_FAMILY)
    path = tmp_path / "stale.html"
    path.write_text(page_of(few_records(), state=lambda key, _: "missing" if key == gone else "fresh"))
    browser.open(path)
    colors = browser.evaluate(
        f"[...document.querySelectorAll('{CONTROLS} tbody tr')].map(r => [r.classList.contains('stale'),"
        "getComputedStyle(r.cells[1]).backgroundColor])"
    )
    stale, fresh = ({color for is_stale, color in colors if is_stale is wanted} for wanted in (True, False))
    assert len(stale) == len(fresh) == 1
    assert stale != fresh


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_a_negative_score_is_drawn_left_of_the_line_at_0(browser, tmp_path, theme, width):
    file = tmp_path / "report.html"
    file.write_text(page_of([record(0.5), record(-0.1, head="ols"), record(-9.0, head="lightgbm")]))
    browser.open(file, width=width, dark=theme == "dark")
    bars = browser.evaluate(
        f"[...document.querySelectorAll('{CONTROLS} td svg.bar')].map(svg => {{"
        "const zero = svg.querySelector('.zero').getBoundingClientRect();"
        "const paths = [...svg.querySelectorAll('path')];"
        "const tick = paths.find(p => !p.classList.length);"
        "const beyond = svg.querySelector('.beyond');"
        "return [tick ? tick.getBoundingClientRect().x - zero.x : null,"
        " beyond ? getComputedStyle(beyond).fill : null]; })"
    )
    (good, none), (bad, also_none), (nowhere, mark) = bars
    assert (none, also_none, nowhere) == (None, None, None)
    assert bad < -2
    assert good > 2
    assert mark not in (None, "none", "rgba(0, 0, 0, 0)")
    assert "-9.000" in browser.evaluate(f"document.querySelector('{CONTROLS}').textContent")


CONTRAST = """(() => {
  const rgba = (text) => {
    const n = text.match(/[\\d.]+/g).map(Number);
    return [n[0], n[1], n[2], n.length > 3 ? n[3] : 1];
  };
  const light = ([r, g, b]) => {
    const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [x, y, z] = [r, g, b].map((v) => linear(v / 255));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = rgba(getComputedStyle(e).backgroundColor);
      if (color[3] === 1) return color;
    }
    return [255, 255, 255, 1];
  };
  const poor = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.offsetParent === null) continue;
    const one = light(rgba(getComputedStyle(element).color)), other = light(behind(element));
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) poor.add(`${element.tagName}.${element.className} ${ratio.toFixed(2)}`);
  }
  return [...poor];
})()"""
