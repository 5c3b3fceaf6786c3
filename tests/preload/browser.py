#!/usr/bin/python3
"""
A person at the page, in headless Chromium: browser.py URL_WITH_TOKEN HOW_TO_GO_ON PICTURES

Speaks WebDriver to chromedriver, with the standard library alone. What the test prepared is known: see agent_page.bats. HOW_TO_GO_ON is
a file that is made when the browser has seen what was there; the test then adds a request. Each step is printed, so the last line
says what failed.
"""
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

TRIES, PAUSE = 400, 0.05
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>&amp;\'"`${1}'


class Browser:
    def __init__(self, folder):
        self.driver = subprocess.Popen(['chromedriver', '--port=0'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                       env={**os.environ, 'HOME': folder})
        self.base = ''
        for line in self.driver.stdout:
            if 'started successfully on port' in line:
                self.base = f"http://127.0.0.1:{line.split('port ')[1].strip().rstrip('.')}"
                break
        options = {'args': ['--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-dev-shm-usage',
                            '--disable-background-networking', '--disable-component-update', '--disable-sync', '--hide-scrollbars',
                            '--no-proxy-server', '--window-size=1200,760', f'--user-data-dir={folder}/profile']}
        made = self.ask('POST', '/session', {'capabilities': {'alwaysMatch': {
            'browserName': 'chrome', 'goog:chromeOptions': options, 'goog:loggingPrefs': {'browser': 'ALL'}}}})
        self.base += f"/session/{made['sessionId']}"

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {'Content-Type': 'application/json'}, method=method)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
                return json.load(answer)['value']
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)['value']['message']) from None

    def close(self):
        try:
            self.ask('DELETE', '')
        finally:
            self.driver.terminate()
            self.driver.wait()

    def open(self, url):
        self.ask('POST', '/url', {'url': url})

    def run(self, script, *args):
        return self.ask('POST', '/execute/sync', {'script': script, 'args': list(args)})

    def find(self, css):
        return next(iter(self.ask('POST', '/element', {'using': 'css selector', 'value': css}).values()))

    def click(self, css):
        self.ask('POST', f'/element/{self.find(css)}/click', {})

    def write(self, css, text):
        element = self.find(css)
        self.ask('POST', f'/element/{element}/clear', {})
        if text:
            self.ask('POST', f'/element/{element}/value', {'text': text})

    def texts(self, css):
        return self.run('return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility()).map(e => e.innerText)', css)

    def picture(self, path):
        with open(path, 'wb') as file:
            file.write(base64.b64decode(self.ask('GET', '/screenshot')))

    def wait(self, what, css, right):
        seen = None
        for _ in range(TRIES):
            seen = self.texts(css)
            if right(seen):
                return seen
            time.sleep(PAUSE)
        raise AssertionError(f'{what}: {seen}')


ROWS, SPANS, LINES = '#list tbody tr', '#spans .span', '#spans .line'


def rows(browser, what, right):
    print('list:', what, flush=True)
    return browser.wait(what, ROWS, right)


def look_at_list(browser):
    all_rows = rows(browser, 'all that was there', lambda r: len(r) == 47)
    assert all('<img' in row for row in all_rows if 'hostile' in row)
    browser.run("document.querySelector('#service').value = arguments[0]; document.querySelector('#service').dispatchEvent("
                "new Event('input', {bubbles: true}))", 'shop')
    rows(browser, 'one service', lambda r: len(r) == 40 and all('shop' in row for row in r))
    browser.run("document.querySelector('#service').value = ''; document.querySelector('#service').dispatchEvent("
                "new Event('input', {bubbles: true}))")
    browser.write('#text', '/item/77')
    rows(browser, 'a path', lambda r: len(r) == 1 and '/item/77' in r[0])
    browser.write('#text', '')
    browser.write('#status', '503')
    rows(browser, 'a status', lambda r: len(r) == 2 and all('503' in row for row in r))
    browser.write('#status', '5')
    rows(browser, 'a class of status', lambda r: len(r) == 2)
    browser.write('#status', '')
    browser.click('#errors')
    rows(browser, 'errors only', lambda r: len(r) == 2)
    browser.click('#errors')
    browser.write('#slower', '100')
    rows(browser, 'slower than', lambda r: len(r) == 1 and 'slow' in r[0])
    browser.write('#slower', '99999')
    browser.wait('nothing matches', '#nothing', lambda t: len(t) == 1)
    browser.write('#slower', '')
    browser.write('#trace', 'ab00000000000000000000000000004d')
    rows(browser, 'a trace id', lambda r: len(r) == 1 and '/item/77' in r[0])
    browser.write('#trace', '')
    rows(browser, 'all again', lambda r: len(r) == 47)


def look_at_trace(browser, pictures):
    print('trace: opened by a click', flush=True)
    browser.write('#text', '/item/9001')
    rows(browser, 'the trace of three', lambda r: len(r) == 1)
    browser.click(ROWS)
    spans = browser.wait('three spans', SPANS, lambda s: len(s) == 3)
    assert [name for name in ('front', 'middle', 'back') if name in spans[('front', 'middle', 'back').index(name)]] == ['front', 'middle', 'back'], spans
    kinds = browser.run("return [...document.querySelector('#spans').children].map(e => e.className.split(' ')[0])")
    assert kinds == ['span', 'line'] * 3, kinds
    lines = browser.texts(LINES)
    assert ['item 900%d' % n in line for n, line in enumerate(lines, 1)] == [True] * 3, lines
    indents = browser.run("return [...document.querySelectorAll('#spans .span .name')].map(e => parseFloat(getComputedStyle(e).paddingLeft))")
    assert indents[0] < indents[1] < indents[2], indents
    bars = browser.run("return [...document.querySelectorAll('#spans .bar')].map(e => e.getBoundingClientRect().width)")
    assert bars[0] > bars[1] > bars[2] > 0, bars
    browser.picture(f'{pictures}/trace.png')
    browser.ask('POST', '/back', {})
    rows(browser, 'back: with its filter', lambda r: len(r) == 1)
    browser.write('#text', '')


def look_at_hostile(browser, pictures):
    print('hostile: names, paths and lines', flush=True)
    browser.write('#text', 'onerror')
    rows(browser, 'the hostile request', lambda r: len(r) == 1 and HOSTILE[:40] in r[0])
    browser.picture(f'{pictures}/hostile.png')
    browser.click(ROWS)
    lines = browser.wait('the hostile line', LINES, lambda t: len(t) == 1)
    assert HOSTILE in lines[0], lines
    assert HOSTILE[:40] in browser.texts(SPANS)[0]
    assert browser.run('return document.images.length + document.scripts.length') == 1, 'only the page has a script'
    assert browser.run('return document.title') == 'traceshim'
    browser.click('#to-overview')
    browser.wait('overview', '#routes tbody tr', lambda r: len(r) == 7 and any('shop' in one and '40' in one for one in r))
    browser.picture(f'{pictures}/overview.png')
    browser.click('#to-requests')
    browser.write('#text', '')


def look_at_deep(browser):
    print('deep: each span calls the next', flush=True)
    browser.run("location.hash = 'trace/' + arguments[0]", f'ab{19999:030x}')
    browser.wait('its title', '#trace-title', lambda t: t and '12000 spans' in t[0])
    assert browser.texts('#state') == [''], browser.texts('#state')
    shown = browser.run("return [...document.querySelectorAll('#spans .span .name')].map(e => e.title)")
    numbers = [int(one.split('/item/')[1]) for one in shown]
    assert numbers == list(range(20000, 32000)), (len(numbers), numbers[:5])


def main(url, go_on, pictures):
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(folder)
        try:
            browser.open(url.split('?')[0])
            assert 'token is needed' in browser.texts('body')[0]
            browser.open(url)
            look_at_list(browser)
            assert 'token' not in browser.run('return location.href'), 'the token stays in the address'
            browser.picture(f'{pictures}/list.png')
            look_at_trace(browser, pictures)
            look_at_hostile(browser, pictures)
            with open(go_on, 'w', encoding='ascii'):
                pass
            rows(browser, 'what comes while one looks', lambda r: any('/item/555' in row for row in r))
            look_at_deep(browser)
            wrong = [one['message'] for one in browser.ask('POST', '/se/log', {'type': 'browser'})
                     if one['level'] == 'SEVERE' and ' 401 ' not in one['message']]
            assert not wrong, wrong
            print('all seen')
        finally:
            browser.close()


if __name__ == '__main__':
    main(*sys.argv[1:])
