"""What a lab builds beside NodeConfigs; its values are in `deployer.outside`, which plans use without a lab."""

from deployer.outside import OutsideConfig, outside_configs

__all__ = ["OutsideConfig", "outside_configs"]
