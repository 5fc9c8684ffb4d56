"""What the frameworks warn of by themselves, with any model: each with the reason."""

import pytest

lightning_uses_a_deprecated_class_of_torch = pytest.mark.filterwarnings(
    "ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"
)
# Where all that it is to load into is on the meta device.
torch_asks_for_the_device_of_a_process_group = pytest.mark.filterwarnings(
    "ignore:`_get_pg_default_device` will be deprecated:UserWarning"
)
peft_reads_a_deprecated_attribute_of_transformers = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)
