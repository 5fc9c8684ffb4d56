"""What every test starts from: a clean thread, an empty default store, the same random numbers."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import torch
import two_ranks

import torchscope as ts
from torchscope._pass import here
from torchscope.checkpoint import _crc32c

# No test fails since the machine is busy, nor by an example that its last run did not have.
hypothesis.settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def clean_thread() -> Iterator[None]:
    """Whatever a test did before, or does now, no other test sees it."""
    torch.manual_seed(0)
    ts.reset_default_store()
    _crc32c._slowly_verified = 0  # Else the test that comes to so many bytes in all is warned.
    yield
    left_in = ts.get_variable_scope().name
    left_open = [run.store for run in here.passes]
    here.passes.clear()
    here.endless = None
    ts.reset_default_store()
    assert not left_open, "the test entered a store and did not leave it"
    assert not left_in, "the test entered a scope and did not leave it"


@pytest.fixture
def store() -> Iterator[ts.VariableStore]:
    """A fresh store, entered."""
    with ts.VariableStore() as store:
        yield store


@pytest.fixture
def refused() -> Callable[..., contextlib.AbstractContextManager[None]]:
    """``with refused(store, error, match=...):`` is ``pytest.raises``, and nothing is changed."""

    @contextlib.contextmanager
    def refused(
        store: ts.VariableStore, error: type[BaseException], *, match: str
    ) -> Iterator[None]:
        before = state(store)
        with pytest.raises(error, match=match):
            yield
        assert state(store) == before

    return refused


def state(store: ts.VariableStore) -> list[Any]:
    """All of a store and of the current scope that a refused call could have changed."""
    scope = ts.get_variable_scope()
    return [
        (scope, scope.name, scope.reuse, scope.dtype, scope.initializer, scope.custom_getter),
        [(name, id(variable), variable.tolist()) for name, variable in store.items()],
        [(name, variable.requires_grad) for name, variable in store.items()],
        list(store.state_dict()),
        [name for name, _ in store.named_modules()],
    ]


@pytest.fixture(scope="module", params=["gloo", pytest.param("nccl", marks=pytest.mark.cuda)])
def ranks(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> two_ranks.Outcome:
    """What went wrong, on either of two ranks, in each test that is ``@on_two_ranks()``."""
    if request.param == "nccl" and torch.cuda.device_count() < two_ranks.RANKS:
        pytest.skip("this machine has no two CUDA devices")
    names = [
        two_ranks.name_of_check(item) for item in request.session.items if item.path == request.path
    ]
    folder = tmp_path_factory.mktemp("ranks")
    return two_ranks.run(
        request.module, [*filter(None, dict.fromkeys(names))], request.param, folder
    )


@pytest.fixture(scope="module")  # while it runs, this thread has an event loop
def browser() -> Iterator[Any]:
    """This machine's chromium, without a window, driven by playwright (extra test-browser)."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no chromium on this machine")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()
