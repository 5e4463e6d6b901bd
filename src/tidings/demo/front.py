"""The demo shop's own pages, where clicks lead: a front page, a page per product and its pictures; nothing else."""

from __future__ import annotations

import html

from aiohttp import web

from tidings.demo.catalogue import Catalogue
from tidings.demo.pictures import picture

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title} - Fenmark</title><style>
body{{margin:0;background:#F4F1EB;color:#1C1B19;font:16px/26px system-ui,sans-serif}}
main{{max-width:960px;margin:0 auto;padding:32px 24px}} header{{font-weight:600;letter-spacing:3.2px}}
h1{{font:400 32px/40px Georgia,serif}} img{{max-width:100%;height:auto;background:#E6E0D5}}
a{{color:#1F3D36}}
ul{{list-style:none;padding:0;display:grid;grid-template-columns:repeat(auto-fill,minmax(200px,1fr));
gap:24px}}
p.note{{color:#6B655C}}</style><main><header><a href="/">FENMARK</a></header>{body}
<p class="note">Fenmark is a demo shop. Nothing here can be bought.</p></main></html>"""


class Front:
    """The pages over one catalogue."""

    def __init__(self, goods: Catalogue) -> None:
        self._goods = goods
        self._place = {product.lower(): place for place, product in enumerate(goods.product.tolist())}

    def app(self) -> web.Application:
        """Return the pages as an application."""
        app = web.Application()
        app.add_routes([
            web.get("/", self._front),
            web.get("/cart", self._front),
            web.get("/new", self._front),
            web.get("/p/{product}", self._product),
            web.get("/img/{name}.png", self._picture),
        ])  # fmt: skip
        return app

    async def _front(self, _: web.Request) -> web.Response:
        goods = self._goods
        rows = (
            f'<li><a href="/p/{product.lower()}"><img loading="lazy" width="480" height="360" alt="" '
            f'src="/img/{product.lower()}-{goods.colour[goods.first_sku[place]]}.png"><br>'
            f"{html.escape(goods.name[place])}</a></li>"
            for place, product in list(enumerate(goods.product.tolist()))[:24]
        )
        return _page("Home and clothing", f"<h1>Home and clothing</h1><ul>{''.join(rows)}</ul>")

    async def _product(self, request: web.Request) -> web.Response:
        place = self._place.get(request.match_info["product"])
        if place is None:
            raise web.HTTPNotFound
        goods = self._goods
        skus = range(goods.first_sku[place], goods.first_sku[place] + goods.sku_count[place])
        colours = list(dict.fromkeys(goods.colour[sku] for sku in skus))
        sizes = [size for size in dict.fromkeys(goods.size[sku] for sku in skus) if size]
        images = "".join(
            f'<img width="1200" height="900" alt="{html.escape(goods.name[place])} in {colour}" '
            f'src="/img/{goods.product[place].lower()}-{colour}.png">'
            for colour in colours
        )
        options = " · ".join([*colours, *sizes])
        name = html.escape(goods.name[place])
        return _page(name, f"<h1>{name}</h1><p>{html.escape(options)}</p>{images}")

    async def _picture(self, request: web.Request) -> web.Response:
        product, _, colour = request.match_info["name"].rpartition("-")
        place = self._place.get(product)
        if place is None:
            raise web.HTTPNotFound
        body = picture(str(self._goods.noun[place]), colour)
        return web.Response(body=body, content_type="image/png", headers={"Cache-Control": "max-age=86400"})


def _page(title: str, body: str) -> web.Response:
    return web.Response(text=_PAGE.format(title=title, body=body), content_type="text/html")
