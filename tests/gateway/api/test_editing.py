"""The operations on pictures: enlarge, cut out, mask, extend, remove."""

import pytest

from inference.engine.spec import Operation
from inference.models import Generation, ImageModel
from tests.gateway.api.conftest import render
from tests.gateway.api.test_inputs import picture, text

pytestmark = pytest.mark.django_db
EDITING = "v6/image_editing"


@pytest.fixture(autouse=True)
def _tools(catalogue):
    for model_id, family, operations in (
        ("esrgan", "upscaler", [Operation.UPSCALE]),
        ("cutter", "background", [Operation.REMOVE_BACKGROUND, Operation.CREATE_MASK]),
        ("checker", "safety", [Operation.CHECK_SAFETY]),
    ):
        ImageModel.objects.create(
            model_id=model_id, name=model_id, family=family, operations=operations, source=model_id, price_code="sd15"
        )


def spec():
    return Generation.objects.get().spec


class TestEnlarging:
    PATHS = (
        f"{EDITING}/super_resolution",
        "v3/super_resolution",
        "v5/super_resolution",
        "v7/images/upscale",
        "v1/enterprise/super_resolution",
        "v1/enterprise/image_editing/super_resolution",
    )

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("field", ["init_image", "image", "url"])
    def test_the_picture_has_many_names(self, api, path, field):
        api.post(path, **{field: text(picture(size=(33, 21)))})
        drawn = spec()
        assert (drawn["operation"], drawn["model"]["model_id"]) == ("upscale", "esrgan")
        assert (drawn["width_px"], drawn["height_px"]) == (99, 63)
        assert drawn["upscale"] == {"factor": 3}

    @pytest.mark.parametrize("name", ["realesr-general-x4v3", "RealESRGAN_x4plus", "ultra_resolution"])
    def test_the_older_names_of_models_mean_the_usual_one(self, api, name):
        api.post(
            f"{EDITING}/super_resolution", init_image=text(picture()), model_id=name, scale="4", face_enhance=False
        )
        assert spec()["model"]["model_id"] == "esrgan"
        assert spec()["upscale"] == {"factor": 4}

    def test_another_unknown_model_is_not_found(self, api):
        body = api.post(f"{EDITING}/super_resolution", init_image=text(picture()), model_id="other")
        assert body["code"] == "model_not_found"

    def test_the_older_routes_reply_with_one_text_now_and_later(self, api):
        body = api.post("v3/super_resolution", url=text(picture()))
        assert body["output"] == []
        render(Generation.objects.get())
        fetched = api.post(f"v6/images/fetch/{body['id']}")
        assert fetched["output"] == body["future_links"][0]

    def test_the_newer_route_replies_with_a_list(self, api):
        body = api.post(f"{EDITING}/super_resolution", init_image=text(picture()))
        render(Generation.objects.get())
        assert api.post(f"v6/images/fetch/{body['id']}")["output"] == body["future_links"]

    def test_more_pixels_than_can_be_drawn_are_refused_before_anything_is_charged(self, api):
        body = api.post(f"{EDITING}/super_resolution", init_image=text(picture(size=(2000, 1500))), scale=8)
        assert (body["errors"][0]["field"], body["errors"][0]["code"]) == ("scale", "too_large")
        assert not Generation.objects.exists()

    def test_restoring_faces_is_refused_rather_than_charged_and_left_out(self, api):
        body = api.post(f"{EDITING}/super_resolution", init_image=text(picture()), face_enhance="yes")
        assert (body["errors"][0]["field"], body["errors"][0]["code"]) == ("face_enhance", "not_supported")
        assert not Generation.objects.exists()


class TestCuttingOut:
    @pytest.mark.parametrize("path", [f"{EDITING}/removebg_mask", f"{EDITING}/removebg", "v5/removebg_mask"])
    def test_the_background_is_removed_as_asked(self, api, path):
        api.post(path, image=text(picture()), only_mask="true", alpha_matting_foreground_threshold="200")
        drawn = spec()
        assert drawn["operation"] == "remove_background"
        assert drawn["background"]["only_mask"] is True
        assert drawn["background"]["foreground_threshold"] == 200
        assert drawn["background"]["background_threshold"] == 20

    @pytest.mark.parametrize("path", [f"{EDITING}/mask_creator", f"{EDITING}/create_mask"])
    def test_a_mask_is_made_of_a_named_thing(self, api, path):
        api.post(path, image=text(picture()), specific_object="the dog")
        assert (spec()["operation"], spec()["mask_subject"]) == ("create_mask", "the dog")

    def test_a_mask_of_nothing_is_refused(self, api):
        assert api.post(f"{EDITING}/mask_creator", image=text(picture()))["errors"][0]["field"] == "specific_object"


@pytest.mark.parametrize("flagged", [True, False])
def test_a_picture_is_checked_apart_from_drawing(api, flagged):
    body = api.post("v3/nsfw_image_check", init_image=text(picture(size=(33, 21))))
    drawn = spec()
    assert (drawn["operation"], drawn["model"]["model_id"]) == ("check_safety", "checker")
    assert (drawn["width_px"], drawn["height_px"]) == (33, 21)
    generation = Generation.objects.get()
    render(generation, flagged=flagged)
    fetched = api.post(f"v3/fetch/{body['id']}")
    assert fetched["has_nsfw_concept"] == [flagged]
    assert fetched["images"] == fetched["output"] == body["future_links"]
    assert fetched["nsfw_content_detected"] is flagged


class TestExtending:
    @pytest.mark.parametrize("path", [f"{EDITING}/outpaint", f"{EDITING}/outpainting"])
    def test_the_canvas_is_the_documented_one_within_the_models_limits(self, api, path):
        ImageModel.objects.filter(model_id="demo").update(side_px_max=1024, guidance_scale_default=7.5)
        body = api.post(path, image=text(picture()))
        drawn = spec()
        assert (drawn["operation"], drawn["width_px"], drawn["height_px"]) == ("outpaint", 1024, 720)
        assert drawn["outpaint"] == {"overlap_px": 10}
        assert (drawn["prompt"], drawn["negative_prompt"]) == ("high quality", "low quality")
        assert (drawn["num_inference_steps"], drawn["guidance_scale"]) == (10, 8.0)
        assert body["meta"]["temp"] == "yes"

    @pytest.mark.parametrize(("own", "drawn_with"), [(7.5, 8.0), (3.0, 3.0), (0.0, 0.0)])
    def test_a_model_with_a_guidance_of_its_own_keeps_it(self, api, own, drawn_with):
        ImageModel.objects.filter(model_id="demo").update(guidance_scale_default=own)
        api.post(f"{EDITING}/outpaint", image=text(picture()))
        assert spec()["guidance_scale"] == drawn_with

    def test_what_is_asked_goes_before(self, api):
        api.post(
            f"{EDITING}/outpaint",
            image=text(picture()),
            width=512,
            height=512,
            overlap_width=64,
            prompt="x",
            temp=False,
        )
        drawn = spec()
        assert (drawn["width_px"], drawn["outpaint"]["overlap_px"], drawn["prompt"]) == (512, 64, "x")
        assert drawn["output_keys"][0].startswith("generations/")


def test_an_object_is_removed_by_painting_over_its_mask(api):
    api.post(f"{EDITING}/object_removal", init_image=text(picture()), mask_image=text(picture()))
    drawn = spec()
    assert (drawn["operation"], drawn["strength"]) == ("inpaint", 1.0)
    assert drawn["prompt"]
