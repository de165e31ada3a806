"""The catalogue's list, its search and its facets over ten thousand models, and one of their pages."""

from __future__ import annotations

from psycopg import Connection

from benchmarks.dashboards import seed
from benchmarks.dashboards.part import Cast, Page, Part

_MODELS = """
INSERT INTO inference_imagemodel (model_id, provider, name, description, family, operations, source, revision, variant,
    prediction_type, trigger_words, price_code, width_px_default, height_px_default, side_px_min, side_px_max,
    steps_default, steps_max, guidance_scale_default, scheduler_default, samples_max, licence, thumbnail, tags,
    examples, published, created_at, updated_at)
SELECT 'bench-' || n, 'provider-' || n %% 50,
    (ARRAY['Lively', 'Quiet', 'Vivid', 'Dreamy', 'Sharp'])[1 + n %% 5] || ' '
        || (ARRAY['Portraits', 'Landscapes', 'Anime', 'Interiors', 'Products', 'Comics'])[1 + n / 5 %% 6] || ' ' || n,
    repeat('What this model draws, in a paragraph of some length. ', 12),
    (ARRAY['sd15', 'sdxl', 'sd3', 'flux'])[1 + n %% 4],
    CASE WHEN n %% 3 = 0 THEN '["text2img", "img2img", "inpaint"]' ELSE '["text2img"]' END::jsonb,
    'bench/' || n, '', '', '', '', (ARRAY['sd15', 'sdxl', 'other'])[1 + n %% 3], 512, 512, 64, 1024, 20, 50, 7.5, '',
    4, (ARRAY['openrail', 'apache-2.0', 'non-commercial'])[1 + n %% 3], '', '[]'::jsonb, '[]'::jsonb, true,
    now() - n * interval '1 hour', now()
FROM generate_series(1, %(rows)s) n
"""


def fill(connection: Connection, cast: Cast, rows: int) -> None:
    connection.execute(_MODELS, {"rows": rows})
    seed.analyse(connection, "inference_imagemodel")


def pages(cast: Cast) -> list[Page]:
    shown = (
        ("first page", "/models"),
        ("page 150", "/models?page=150"),
        ("search, many found", "/models?q=vivid+portraits"),
        ("search, one found", "/models?q=bench-9876"),
        ("search, none found", "/models?q=nothing+like+it"),
        ("facet family", "/models?family=sdxl"),
        ("three facets", "/models?task=img2img&licence=openrail&speed=usual"),
        ("newest first", "/models?sort=new"),
        ("most used first", "/models?sort=popular"),
        ("cheapest first", "/models?sort=price"),
        ("as markdown", "/models.md"),
        ("compare mode", "/playground/compare?model=bench-1&model=bench-2"),
        ("one model's page", "/models/provider-17/bench-17"),
    )
    return [Page(f"catalogue, {name}", path) for name, path in shown]


PART = Part(name="catalogue", rows=10_000, fill=fill, pages=pages)
