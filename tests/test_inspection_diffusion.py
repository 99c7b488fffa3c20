"""``inspect`` for models that draw step by step, RePaint, and the probability flow run backwards."""

import json
import math
from pathlib import Path

import diffusers
import pytest
import torch
from PIL import Image

from lightning_gen.callbacks.interpolation import InterpolationStrip
from lightning_gen.cli import main
from lightning_gen.data import ImageData
from lightning_gen.diffusion.inpainting import add_process_noise, repaint, step_order
from lightning_gen.diffusion.inversion import invert
from lightning_gen.diffusion.samplers import Ancestral, DPMSolver, Heun, make_timestep
from lightning_gen.diffusion.times import discrete_times, level_times, path_times
from lightning_gen.errors import InputError
from lightning_gen.evaluation.nearest import draw_samples
from lightning_gen.images import to_float, to_uint8
from lightning_gen.inspection import Subject
from lightning_gen.inspection.denoising import DenoisingModel, denoising, evenly_spaced, sample_trajectory
from lightning_gen.inspection.inpaint import inpaint, inpaint_batch, known_pixels
from lightning_gen.inspection.interpolate import interpolate
from lightning_gen.inspection.reconstruct import add_and_remove_noise, reconstruct, time_at_level
from lightning_gen.models.autoencoders.vae import VAE
from lightning_gen.models.diffusion.ddpm import DDPM
from lightning_gen.models.diffusion.edm import EDM
from lightning_gen.models.diffusion.flow_matching import FlowMatching
from lightning_gen.noise import image_generators
from lightning_gen.types import Decoder, Encoder, LatentGenerator, Reconstructor, SamplingOptions
from tests.helpers import trainer
from tests.test_cli import lines_of
from tests.test_diffusion import PROCESSES

SHAPE = (1, 16, 16)
SIDE = 48 + 1  # an enlarged digit and its border
TINY = {"width": 4, "multipliers": (1, 2), "blocks": 1, "attention": ()}
TIMES = {
    "ddpm": lambda steps: discrete_times(1000, steps),
    "edm": lambda steps: level_times(steps, 0.002, 80.0),
    "flow": path_times,
}

# ---- RePaint, with the exact denoiser of four Gaussian pixels, two of which are known

MEAN = torch.tensor([0.5, -0.3, 0.2, 0.0]).double()
FACTOR = torch.tensor([[0.6, 0, 0, 0], [0.5, 0.3, 0, 0], [-0.3, 0.2, 0.4, 0], [0.3, -0.2, 0.3, 0.3]]).double()
COVARIANCE = FACTOR @ FACTOR.T
KNOWN, UNKNOWN, VALUES = [0, 2], [1, 3], torch.tensor([1.2, -0.4]).double()


def gaussian(process):
    """E[x_0 | x] of the four pixels."""

    def denoise(noisy, times):
        alpha, sigma = (share.item() for share in process.alpha_sigma(times[0].double()))
        gain = alpha * COVARIANCE @ torch.linalg.inv(alpha**2 * COVARIANCE + sigma**2 * torch.eye(4).double())
        return (MEAN + (noisy.flatten(1) - alpha * MEAN) @ gain.T).reshape(noisy.shape)

    return denoise


def errors_of(name, sampler, jump, resamples, steps=30, num=3000):
    """How far the filled pixels' mean and covariance are from those of the conditional Gaussian."""
    generator = torch.Generator().manual_seed(0)
    process, times = PROCESSES[name], TIMES[name](steps)

    def normal():
        return torch.randn(num, 1, 2, 2, generator=generator, dtype=torch.float64)

    images = torch.full((num, 1, 2, 2), math.nan, dtype=torch.float64)  # what is unknown must not be looked at
    images.flatten(1)[:, KNOWN] = VALUES
    known = torch.tensor([True, False, True, False]).reshape(1, 1, 2, 2).expand(num, 1, 2, 2)
    noisy = normal() * make_timestep(process, times[0]).sigma
    found = repaint(sampler().bind(process, gaussian(process), normal), images, known, noisy, times, jump, resamples)
    assert (found.flatten(1)[:, KNOWN] == VALUES).all()
    gain = COVARIANCE[UNKNOWN][:, KNOWN] @ torch.linalg.inv(COVARIANCE[KNOWN][:, KNOWN])
    mean = MEAN[UNKNOWN] + gain @ (VALUES - MEAN[KNOWN])
    covariance = COVARIANCE[UNKNOWN][:, UNKNOWN] - gain @ COVARIANCE[KNOWN][:, UNKNOWN]
    filled = found.flatten(1)[:, UNKNOWN]
    return (
        (filled.mean(0) - mean).abs().max().item(),
        (filled.T.cov() - covariance).abs().max().item() / covariance.max().item(),
    )


@pytest.mark.parametrize(
    ("name", "sampler", "most"),
    [
        ("flow", Heun, (0.03, 0.1)),  # Monte Carlo error is 0.01 and 0.03
        ("edm", Heun, (0.03, 0.1)),
        ("flow", Ancestral, (0.03, 0.4)),  # its steps are too narrow, with or without resampling
        ("ddpm", DPMSolver, (0.06, 0.25)),
    ],
)
def test_filled_pixels_have_the_conditional_mean_and_covariance(name, sampler, most):
    mean, covariance = errors_of(name, sampler, jump=1, resamples=10)
    assert mean < most[0]
    assert covariance < most[1]
    once = errors_of(name, sampler, jump=1, resamples=1)
    assert once[0] > 3 * mean
    assert sampler is Ancestral or once[1] > 1.3 * covariance


def test_longer_jumps_help_too_and_a_multistep_sampler_forgets_what_was_before_them():
    once, often = (errors_of("ddpm", DPMSolver, jump=4, resamples=resamples) for resamples in (1, 10))
    assert often[0] < once[0] / 2
    assert often[1] < once[1] / 1.3
    # a step after a jump, extrapolated from an image of before it, would not be one of a sampler that starts there
    process, times = PROCESSES["ddpm"], [900.0, 600.0, 300.0, -1.0]
    seen = []

    class Spy(DPMSolver):
        def step(self, noisy, now, after):
            seen.append((now.time, self.previous is None))
            return super().step(noisy, now, after)

    images = torch.zeros(1, 1, 2, 2).double()
    sampler = Spy().bind(process, gaussian(process), lambda: torch.zeros_like(images))
    repaint(sampler, images, images < 1, images, times, jump=1, resamples=2)
    assert seen == [(900, True), (900, True), (600, False), (600, True), (300, False)]


@pytest.mark.parametrize(("steps", "jump", "resamples"), [(20, 1, 3), (50, 10, 10), (25, 4, 2), (10, 3, 1), (11, 5, 4)])
def test_the_way_is_the_papers(steps, jump, resamples):
    scheduler = diffusers.RePaintScheduler(1000)
    scheduler.set_timesteps(steps, jump, resamples)
    theirs = [steps - 1 - time // (1000 // steps) for time in scheduler.timesteps.tolist()]  # as places
    # they go back one step at a time, which comes to the same
    leaps = [
        theirs[0],
        *(here for last, here, then in zip(theirs, theirs[1:], theirs[2:], strict=False) if not last > here > then),
        theirs[-1],
    ]
    assert step_order(steps, jump, resamples) == [*leaps, steps]


@pytest.mark.parametrize("name", TIMES)
def test_going_back_is_the_process_itself(name):
    process = PROCESSES[name]
    times = TIMES[name](10)
    now, after = make_timestep(process, times[6]), make_timestep(process, times[3])
    zeros, ones = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    kept, fresh = add_process_noise(ones, now, after, zeros).item(), add_process_noise(zeros, now, after, ones).item()
    assert kept * now.alpha == pytest.approx(after.alpha)
    assert (kept * now.sigma) ** 2 + fresh**2 == pytest.approx(after.sigma**2)
    if name == "ddpm":  # q(x_t | x_s), step by step
        betas = diffusers.DDPMScheduler(1000).betas.double()[int(now.time) + 1 : int(after.time) + 1]
        assert kept == pytest.approx((1 - betas).prod().sqrt().item(), rel=1e-5)
        assert fresh == pytest.approx((1 - (1 - betas).prod()).sqrt().item(), rel=1e-5)


@pytest.mark.parametrize(
    ("jump", "resamples", "words"),
    [(0, 2, "jump is 0"), (1, 0, "resamples is 0"), (4, 2, "jump is 4; to go back .* steps, which is 4")],
)
def test_a_way_that_cannot_be_is_refused(jump, resamples, words):
    assert step_order(4, 9, 1) == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match=words):
        step_order(4, jump, resamples)


# ---- models that know their data: independent pixels, normal about an image of a class


class Exact:
    """What makes a model's denoiser exact; the mean grows to the right and, in a conditional model, with the class."""

    std = 0.3

    def mean(self, classes):
        ramp = torch.linspace(-0.6, 0.2, 16).expand(1, 1, 16, 16)
        return ramp if classes is None else ramp + (classes @ torch.arange(10.0) / 25)[:, None, None, None]

    def exact(self, noisy, times, classes=None):
        alpha, sigma = (
            share.to(noisy.dtype)[:, None, None, None] for share in self.process.alpha_sigma(times.double())
        )
        gain = alpha * self.std**2 / (alpha**2 * self.std**2 + sigma**2)
        return self.mean(classes) + gain * (noisy - alpha * self.mean(classes))


class ExactDDPM(Exact, DDPM):
    pass


class ExactEDM(Exact, EDM):
    pass


class ExactFlow(Exact, FlowMatching):
    pass


def exact_model(kind, conditional=False, **sampling):
    model = kind(SHAPE, num_classes=10, conditional=conditional, **TINY)
    model.sampling = SamplingOptions(**sampling)
    model.network.forward = model.exact
    return model.eval()


KINDS = [ExactDDPM, ExactEDM, ExactFlow]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> ImageData:
    return ImageData("digits", root=str(tmp_path_factory.mktemp("data")), batch_size=64)


def drawn_from(model, num, labels=None):
    """Images of the distribution that the model knows, within [-1, 1]."""
    noise = torch.randn(num, *SHAPE, generator=torch.Generator().manual_seed(0))
    classes = None if labels is None else torch.eye(10)[labels]
    return (model.mean(classes) + model.std * noise).clamp(-1, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_encoding_is_the_flows_own_map(kind):
    """Of a Gaussian, x_T = alpha m + sqrt(alpha^2 d^2 + sigma^2) (x - m) / d."""
    model = exact_model(kind, steps=100, clip=False)
    images = drawn_from(model, 3)
    noisiest = make_timestep(model.process, model.timesteps(model.sampling)[0])
    deviation = (images - model.mean(None)) / model.std
    wanted = noisiest.alpha * model.mean(None) + math.hypot(noisiest.alpha * model.std, noisiest.sigma) * deviation
    latents = model.encode(images)
    assert latents.shape == model.sample_latents(3).shape
    torch.testing.assert_close(latents, (wanted / noisiest.sigma).flatten(1), atol=5e-3, rtol=5e-3)
    half = (model.encode(images[:1]) - latents[:1]).abs().max()
    assert half < 1e-5  # no batch-mates


@pytest.mark.parametrize(
    ("kind", "sampler"),
    [
        (ExactDDPM, "ddim"),
        (ExactDDPM, "dpm_solver"),
        (ExactEDM, "heun"),
        (ExactEDM, "adaptive"),
        (ExactFlow, "heun"),
        (ExactFlow, "euler"),
        (ExactFlow, "adaptive"),
    ],
)
def test_decoding_what_was_encoded_gives_the_images_the_nearer_the_more_steps(kind, sampler):
    def error(steps, conditional):
        model = exact_model(kind, conditional, sampler=sampler, steps=steps, clip=False)
        labels = torch.tensor([0, 4, 9, 2])
        images = drawn_from(model, 4, labels if conditional else None)
        latents = model.encode(images, labels=labels)
        assert latents.shape == (4, 266 if conditional else 256)
        assert not conditional or latents[:, 256:].equal(torch.eye(10)[labels])
        return (model.decode(latents) - images).abs().max().item()

    if sampler == "adaptive":
        assert max(error(None, conditional) for conditional in (False, True)) < 5e-3
        return
    few, many = error(10, False), error(80, False)
    first_order = sampler in ("euler", "ddim")
    assert many < few / (4 if first_order else 8)
    assert max(many, error(80, True)) < (0.1 if first_order else 0.02)


def test_what_draws_fresh_noise_encodes_nothing():
    images = torch.zeros(2, *SHAPE)
    for kind, sampling in (
        (ExactDDPM, {"sampler": "ancestral"}),
        (ExactDDPM, {"sampler": "ddim", "eta": 0.5}),
        (ExactEDM, {"sampler": "stochastic_heun"}),
    ):
        with pytest.raises(InputError, match=f"{sampling['sampler']} draws fresh noise.*deterministic"):
            exact_model(kind, **sampling).encode(images)
    model = exact_model(ExactFlow, conditional=True)
    with pytest.raises(InputError, match="needs the images' classes"):
        model.encode(images)
    with pytest.raises(InputError, match="the classes are 0 to 9"):
        model.encode(images, labels=torch.tensor([0, 10]))


def test_the_flow_is_entered_where_there_is_hardly_noise_and_follows_the_adaptive_solver_too():
    process, images = PROCESSES["flow"], torch.randn(5, 1, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    seen = []

    def denoise(noisy, times):
        seen.append(times[0].item())
        return gaussian(process)(noisy, times)

    paced = invert(process, denoise, images, [1e-3, *path_times(400)[-2::-1]])
    assert (min(seen), max(seen)) == (1e-3, 1.0)

    def one_by_one(noisy, times):
        return torch.cat(
            [gaussian(process)(image, time) for image, time in zip(noisy.split(1), times.split(1), strict=True)]
        )

    torch.testing.assert_close(invert(process, one_by_one, images, [1e-3, 1.0], False), paced, atol=2e-3, rtol=2e-3)


# ---- what a model can do


@pytest.mark.parametrize("kind", KINDS)
def test_capabilities(kind):
    model = exact_model(kind)
    assert all(isinstance(model, what) for what in (Encoder, Decoder, LatentGenerator, DenoisingModel))
    assert not isinstance(model, Reconstructor)
    assert not isinstance(VAE(SHAPE), DenoisingModel)


def test_the_strip_of_a_training_run_encodes_nothing(tmp_path):
    model = exact_model(ExactFlow, steps=2)
    model.encode = lambda *args, **options: pytest.fail("encodes")  # type: ignore[method-assign]
    cells = InterpolationStrip(rows=2, steps=3).draw(trainer(), model)
    assert len(cells.images) == 2 * 3
    assert cells.columns == 3


# ---- denoising


def test_the_way_shows_the_samplers_images_and_the_denoisers(data):
    model = exact_model(ExactEDM, sampler="heun", steps=6)
    subject = Subject(model, data, seed=3)
    way = sample_trajectory(subject, range(2, 5), None, range(7))
    noisy = 80.0 * torch.cat([torch.randn(1, *SHAPE, generator=one) for one in image_generators(3, range(2, 5))])
    sampler = Heun().bind(model.process, model.network, lambda: pytest.fail("draws"))
    times = model.timesteps(model.sampling)
    for place, (time, x) in enumerate(zip(times, [noisy, *sampler.walk(noisy, times)], strict=True)):
        assert way.noisy[place].equal(to_uint8(x / (1 + time)))
        clean = model.network(x, torch.full((3,), time)) if time else x
        assert way.clean[place].equal(to_uint8(clean))
    assert way.noisy[-1].equal(to_uint8(model.sample(3, generator=image_generators(3, range(2, 5)))))


@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_has_a_row_an_image_and_a_column_a_step(data, kind, tmp_path):
    model = exact_model(kind, steps=8)
    found = denoising(Subject(model, data), num=5, columns=4)
    noise = found.numbers["noise"]
    assert len(noise) == len(found.numbers["distance"]) == 4
    assert noise == sorted(noise, reverse=True)
    assert (noise[0] > 0.98, noise[-1]) == (True, 0)
    assert found.numbers["distance"][-1] == 0
    assert (found.numbers["sampler"], found.numbers["steps"]) == (model.default_sampling.sampler, 8)
    final = to_uint8(model.sample(5, generator=image_generators(0, range(5))))
    last = found.picture[:1, -8 - 5 * SIDE - 1 : -8, -8 - SIDE - 1 : -8]  # the last block
    for row in range(5):
        assert last[:, 1 + row * SIDE : row * SIDE + 49 : 3, 1:49:3].equal(final[row])
    again = denoising(Subject(model, data, batch_size=2), num=5, columns=4)
    assert found.picture.equal(again.picture)
    assert not found.picture.equal(denoising(Subject(model, data, seed=1), num=5, columns=4).picture)
    found.save(tmp_path / "x")
    with Image.open(tmp_path / "x.gif") as gif:
        assert gif.n_frames == 9
        lengths = [gif.seek(frame) or gif.info["duration"] for frame in range(9)]
    assert lengths[-1] > 2 * lengths[0]
    assert 3000 < sum(lengths) < 8000


def test_many_steps_are_shown_evenly():
    assert evenly_spaced(11, 11) == evenly_spaced(11, 50) == [*range(11)]
    assert evenly_spaced(251, 6) == [0, 50, 100, 150, 200, 250]
    assert evenly_spaced(2, 5) == [0, 1]


def test_a_conditional_model_draws_its_classes_in_turn_or_those_asked_for(data):
    model = exact_model(ExactFlow, conditional=True, steps=4)
    subject = Subject(model, data, batch_size=3)
    seen = []
    denoise = model.network.forward

    def spied(noisy, times, classes):
        seen.append(classes.argmax(1).tolist())
        return denoise(noisy, times, classes)

    model.network.forward = spied
    denoising(subject, num=5, columns=2)
    assert [one for i, one in enumerate(seen) if one not in seen[:i]] == [[0, 1, 2], [3, 4]]
    seen.clear()
    denoising(subject, num=3, columns=2, labels=[7, 2])
    assert all(one == [7, 2, 7] for one in seen)


# ---- reconstruct from a level


@pytest.mark.parametrize("kind", KINDS)
def test_a_level_is_the_share_of_noise_of_every_model(data, kind):
    model = exact_model(kind, steps=20)
    found = reconstruct(Subject(model, data, batch_size=7), num=12, level=[0.8, 0.1, 0.5])
    assert found.numbers["noise"] == pytest.approx([0.1, 0.5, 0.8], abs=5e-3)
    assert found.numbers["psnr"] == sorted(found.numbers["psnr"], reverse=True)
    whole = reconstruct(Subject(model, data), num=12, level=[0.8, 0.1, 0.5])
    assert whole.numbers["psnr"] == pytest.approx(found.numbers["psnr"], abs=1e-3)
    assert found.picture.shape == (3, 8 + 7 * (SIDE + 1 + 8), whole.picture.shape[2])
    subject = Subject(model, data, seed=5)
    batch = subject.first("test", 4)
    noisy, _ = add_and_remove_noise(subject, batch, range(4), time_at_level(model, 0.3))
    noise = torch.cat([torch.randn(1, *SHAPE, generator=one) for one in image_generators(5, range(4))])
    wanted = to_uint8(0.7 * batch.images + 0.3 * noise).int()
    assert (noisy.int() - wanted).abs().max() <= 4  # the level is one of a thousand


def test_all_noise_gives_samples_and_next_to_none_the_images(data):
    model = exact_model(ExactFlow, sampler="ancestral", steps=30)
    subject = Subject(model, data)
    batch = subject.first("test", 4)
    drawn = add_and_remove_noise(subject, batch, range(4), time_at_level(model, 1.0))[1]
    assert drawn.equal(to_uint8(model.sample(4, generator=image_generators(0, range(4)))))
    numbers = reconstruct(subject, num=4, level=[1e-9]).numbers
    assert 0 < numbers["noise"][0] < 0.01
    assert numbers["psnr"][0] > 35


@pytest.mark.parametrize("sampler", ["dpm_solver", "adaptive", "stochastic_heun"])
def test_every_sampler_draws_back_from_any_level(data, sampler):
    steps = {} if sampler == "adaptive" else {"steps": 9}
    model = exact_model(ExactEDM, sampler=sampler, **steps)
    images = drawn_from(model, 8)
    batch = Subject(model, data).first("test", 8)._replace(images=images)
    for level in (1e-6, 0.3, 1.0):
        drawn = add_and_remove_noise(Subject(model, data), batch, range(8), time_at_level(model, level))[1]
        error = (drawn.double() - to_uint8(images)).div(127.5).square().mean().sqrt().item()
        assert error < {1e-6: 0.01, 0.3: 0.4, 1.0: 0.55}[level]
    assert error > 0.3  # of independent draws sqrt(2) times the deviation


def test_a_conditional_model_is_told_the_images_class(data):
    model = exact_model(ExactFlow, conditional=True, steps=10)
    batch = Subject(model, data).first("test", 8)
    drawn = add_and_remove_noise(Subject(model, data), batch, range(8), 1.0)[1]
    classes = torch.eye(10)[batch.labels]
    assert (to_float(drawn) - model.mean(classes)).mean((1, 2, 3)).abs().max() < 0.1


# ---- inpaint


def test_known_pixels_come_back_as_they_were_and_the_others_as_the_model_has_them(data):
    model = exact_model(ExactDDPM, sampler="ddim", steps=50)
    subject = Subject(model, data)
    truth = data.image_set("test")[:6]
    known = known_pixels("box", 0.4, SHAPE, image_generators(0, range(6)))
    first, second = (inpaint_batch(subject, subject.first("test", 6), known, range(6), i, 1, 3) for i in range(2))
    assert first[known].equal(truth[known])
    unknown = (to_float(first) - model.mean(None))[~known]
    assert unknown.mean().abs() < 0.03
    assert unknown.std().item() == pytest.approx(0.3, rel=0.2)
    assert not first.equal(second)
    mates = inpaint_batch(subject, subject.batch(data.image_set("test"), range(4, 6)), known[4:], range(4, 6), 0, 1, 3)
    assert mates.equal(first[4:])


def test_what_is_measured_is_the_unknown_part(data):
    model = exact_model(ExactFlow, steps=5)
    model.std = 1e-3
    model.mean = lambda classes: torch.full((1, 1, 1, 1), 0.5)  # type: ignore[method-assign]
    found = inpaint(Subject(model, data, batch_size=4), "left", share=0.25, resamples=2, num=10, shown=3, draws=3)
    truth = data.image_set("test")[:10].double() / 255
    wanted = (truth[..., :4] - 0.75).square().mean()
    assert found.numbers["psnr_inpainted"] == pytest.approx(-10 * math.log10(wanted), abs=0.05)
    colour = truth[..., 4:].mean((1, 2, 3), keepdim=True)
    wanted = (truth[..., :4] - colour).square().mean()
    assert found.numbers["psnr_mean_colour"] == pytest.approx(-10 * math.log10(wanted), abs=1e-6)
    assert (found.numbers["unknown"], found.numbers["jump"]) == (0.25, 1)
    assert found.numbers["spread"] < 0.01
    assert found.picture.shape[1] == 8 + 5 * (SIDE + 1 + 8)
    for row in (2, 3, 4):  # the right three quarters of the last image of each draw
        top = 8 + row * (SIDE + 9) + 1
        last = found.picture[:1, top : top + 48 : 3, -8 - SIDE : -9 : 3]
        assert last[:, :, 4:].equal(data.image_set("test")[2:3][0, :, :, 4:])


def test_jumps_are_a_25th_of_the_way_and_one_draw_has_no_spread(data):
    model = exact_model(ExactFlow, sampler="euler", steps=100)
    numbers = inpaint(Subject(model, data), resamples=2, num=2, draws=1).numbers
    assert numbers["jump"] == 4
    assert "spread" not in numbers
    assert numbers["unknown"] == 0.25


def test_masks_are_where_and_as_large_as_they_should_be():
    def unknown(region, share=None, num=20):
        return ~known_pixels(region, share, (3, 8, 16), image_generators(0, range(num)))[:, 0]

    centre = torch.zeros(8, 16, dtype=torch.bool)
    centre[2:6, 4:12] = True
    assert (unknown("centre") == centre).all()
    for region, part in {
        "left": (slice(None), slice(8)),
        "right": (slice(None), slice(8, None)),
        "top": (slice(4), slice(None)),
        "bottom": (slice(4, None), slice(None)),
    }.items():
        wanted = torch.zeros(8, 16, dtype=torch.bool)
        wanted[part] = True
        assert (unknown(region) == wanted).all(), region
    assert unknown("right", 0.25)[0].nonzero()[:, 1].min() == 12
    boxes = unknown("box")
    for box in boxes:
        rows, columns = box.nonzero().T
        assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1, box.sum()) == (4, 8, 32)
    assert len(boxes.unique(dim=0)) > 5
    pixels = unknown("random", 0.3)
    assert (pixels.flatten(1).sum(1) == round(0.3 * 128)).all()
    assert len(pixels.unique(dim=0)) == 20
    assert pixels.equal(unknown("random", 0.3))
    for share, words in ((0.0, "--share is 0"), (1.0, "--share is 1"), (1e-4, "no pixel"), (0.9999, "every pixel")):
        with pytest.raises(InputError, match=words):
            unknown("left", share)


# ---- interpolate, neighbours


def test_interpolation_goes_along_arcs_between_noises_or_between_images_if_asked(data):
    model = exact_model(ExactFlow, sampler="heun", steps=20)
    found = interpolate(Subject(model, data), rows=2, columns=3, frames=2)
    assert (found.numbers["between"], found.numbers["path"]) == ("latents", "spherical")
    decoded: list[torch.Tensor] = []
    decode = model.decode
    model.decode = lambda latents: decoded.append(latents) or decode(latents)  # type: ignore[func-returns-value, method-assign]
    found = interpolate(Subject(model, data), between="images", rows=2, columns=3, frames=2)
    assert (found.numbers["between"], found.numbers["path"]) == ("images", "spherical")
    images = Subject(model, data).first("test", 4).images
    assert (decode(decoded[0][[0, 2, 3, 5]]) - images).abs().max() < 0.05


def test_samples_for_neighbours_are_of_all_classes(data):
    model = exact_model(ExactFlow, conditional=True, steps=5)
    model.std = 1e-3
    drawn = to_float(draw_samples(model, 20, seed=0, batch_size=7))
    wanted = model.mean(torch.eye(10)[torch.arange(20) % 10])
    torch.testing.assert_close(drawn, wanted.expand_as(drawn), atol=0.02, rtol=0)


# ---- the command line


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory) -> dict[str, Path]:
    """Checkpoints of models that have hardly learned anything."""
    models = {
        "ddpm": DDPM(SHAPE, num_times=30, **TINY),
        "edm": EDM(SHAPE, num_classes=10, conditional=True, **TINY),
        "flow": FlowMatching(SHAPE, **TINY),
        "vae": VAE(SHAPE, latent_dim=4, width=4),
    }
    folder, checkpoints = tmp_path_factory.mktemp("inspected"), {}
    for name, model in models.items():
        fit = trainer(limit_train_batches=1, limit_val_batches=0)
        fit.fit(model, data)
        checkpoints[name] = folder / name / "checkpoints" / "last.ckpt"
        fit.save_checkpoint(checkpoints[name])
    return checkpoints


@pytest.mark.parametrize(
    ("run", "what", "ends"),
    [
        ("ddpm", ["denoising", "--num", "2", "--columns", "3"], [".png", ".json", ".gif"]),
        ("edm", ["denoising", "--labels", "3", "4", "--steps=3", "--guidance", "2"], [".png", ".json", ".gif"]),
        ("flow", ["denoising", "--sampler", "ancestral", "--steps", "3"], [".png", ".json", ".gif"]),
        ("ddpm", ["inpaint", "--num", "2", "--steps=3", "--resamples", "2"], [".png", ".json"]),
        ("edm", ["inpaint", "--mask=random", "--share=0.8", "--num=2", "--steps=2", "--jump=1"], [".png", ".json"]),
        ("ddpm", ["reconstruct", "--num", "2"], [".png", ".json"]),
        ("edm", ["reconstruct", "--level", "0.3", "1", "--num=3", "--steps=3"], [".png", ".json"]),
        ("flow", ["reconstruct", "--level=0.5", "--sampler=adaptive", "--num=2"], [".png", ".json"]),
        ("edm", ["interpolate", "--rows=1", "--columns=2", "--steps=3", "--frames=3"], [".png", ".json", ".gif"]),
        ("flow", ["interpolate", "--between=images", "--rows=1", "--frames=3"], [".png", ".json", ".gif"]),
        ("ddpm", ["latent-map", "--num", "6", "--sampler=ddim"], [".png", ".json"]),
        ("edm", ["latent-map", "--num", "6"], [".png", ".json"]),
        ("edm", ["traverse", "--rows=1", "--num=3", "--label", "2", "--steps=2"], [".png", ".json"]),
    ],
)
def test_inspections_leave_pictures_and_numbers(runs, run, what, ends, tmp_path, capsys):
    assert main(["inspect", "--ckpt", str(runs[run]), *what, "--device=cpu", f"--out={tmp_path}"]) == 0, lines_of(
        capsys
    )
    files = [tmp_path / f"last_{what[0]}{end}" for end in ends]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    numbers = json.loads(files[1].read_text())
    assert numbers
    assert capsys.readouterr().out.splitlines()[-len(files) :] == [str(file) for file in files]
    if "--level" in what:
        assert numbers["noise"] == pytest.approx([0.3, 80 / 81], abs=0.01)


@pytest.mark.parametrize(
    ("run", "what", "words"),
    [
        ("vae", ["denoising"], ["VAE does not generate images iteratively"]),
        ("vae", ["inpaint"], ["VAE does not generate images iteratively"]),
        ("vae", ["reconstruct", "--level", "0.5"], ["--level is for iterative models", "VAE"]),
        ("flow", ["denoising", "--labels", "3"], ["--labels is given", "FlowMatching is not conditional"]),
        ("edm", ["denoising", "--labels", "3", "10"], ["--labels is [3, 10]", "0 to 9"]),
        ("flow", ["denoising", "--sampler", "adaptive"], ["adaptive chooses its own steps", "euler"]),
        ("flow", ["denoising", "--columns", "1"], ["--columns is 1", "at least 2"]),
        ("flow", ["denoising", "--num", "0"], ["--num is 0", "at least 1"]),
        ("flow", ["reconstruct", "--level", "0"], ["--level is [0.0]", "in (0, 1]"]),
        ("flow", ["reconstruct", "--level", "0.5", "1.5"], ["--level is [0.5, 1.5]", "in (0, 1]"]),
        ("flow", ["reconstruct", "--level", "nan"], ["level"]),
        ("flow", ["inpaint", "--sampler", "adaptive"], ["adaptive", "chooses its own"]),
        ("flow", ["inpaint", "--mask", "middle"], ["mask", "middle"]),
        ("flow", ["inpaint", "--share", "1"], ["--share is 1", "between 0 and 1"]),
        ("flow", ["inpaint", "--resamples", "0"], ["resamples is 0", "at least 1"]),
        ("flow", ["inpaint", "--jump", "3", "--steps=3"], ["jump is 3", "below the number of steps, which is 3"]),
        ("flow", ["inpaint", "--draws", "0"], ["--draws is 0", "at least 1"]),
        ("ddpm", ["interpolate", "--sampler", "ancestral"], ["ancestral draws fresh noise", "deterministic"]),
        ("ddpm", ["interpolate", "--sampler=ancestral", "--between=images"], ["ancestral draws fresh noise"]),
        ("ddpm", ["latent-map", "--sampler", "ddim", "--eta", "1"], ["ddim draws fresh noise"]),
        ("ddpm", ["traverse", "--sampler", "ancestral"], ["ancestral draws fresh noise"]),
        ("flow", ["manifold"], ["manifold needs 2 latents, this model has 256"]),
        ("flow", ["compress"], ["latents of FlowMatching are noise", "autoencoder"]),
        ("flow", ["denoise"], ["FlowMatching removes noise iteratively", "reconstruct", "denoising"]),
        ("flow", ["anomaly", "--against", "noise"], ["FlowMatching reconstructs no images", "autoencoder"]),
        ("flow", ["anomaly", "--against", "noise", "--score", "elbo"], ["FlowMatching has no ELBO"]),
    ],
)
def test_bad_input_is_one_clear_line(runs, run, what, words, tmp_path, capsys):
    assert main(["inspect", "--ckpt", str(runs[run]), *what, f"--out={tmp_path / 'none'}"]) == 2
    line = lines_of(capsys)
    assert all(word in line for word in words), line
    assert not (tmp_path / "none").exists()
