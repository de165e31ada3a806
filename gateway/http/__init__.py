"""The only way to users' addresses: webhooks, init_image, masks, model imports."""

from gateway.http.addresses import address_allowed, url_checked
from gateway.http.client import Fetched, Posted, http_download, http_fetch, http_post
from gateway.http.images import FetchedImage, image_check, image_fetch, image_open

__all__ = [
    "Fetched",
    "FetchedImage",
    "Posted",
    "address_allowed",
    "http_download",
    "http_fetch",
    "http_post",
    "image_check",
    "image_fetch",
    "image_open",
    "url_checked",
]
