"""Training: one loop and one step for every GAN. Recipes say what differs; see recipe.py."""

from fastgan.training.allocator import keep_freed_memory
from fastgan.training.augment import Augmentation, AugmentedConfig, augmentation_for
from fastgan.training.conditioning import Conditioning, LabelConditioning, conditioning_for
from fastgan.training.context import StepContext
from fastgan.training.draws import Draws
from fastgan.training.generation import Generated, Generation
from fastgan.training.hooks import Hook, TrainingDivergedError
from fastgan.training.loop import train
from fastgan.training.objectives import (
    Minimax,
    NonSaturating,
    Objective,
    RelativisticPairing,
)
from fastgan.training.optimizers import OptimizerFactory, adam
from fastgan.training.planner import Plan, plan
from fastgan.training.profile import Profile
from fastgan.training.recipe import Edge, EMASpec, Player, RecipeModule, TrainingRecipe
from fastgan.training.regularizers import R1, R2, PathLength, Regularizer
from fastgan.training.sampler import Sampler
from fastgan.training.state import TrainingState, start_state
from fastgan.training.step import Phase, Step

__all__ = [
    "R1",
    "R2",
    "Augmentation",
    "AugmentedConfig",
    "Conditioning",
    "Draws",
    "EMASpec",
    "Edge",
    "Generated",
    "Generation",
    "Hook",
    "LabelConditioning",
    "Minimax",
    "NonSaturating",
    "Objective",
    "OptimizerFactory",
    "PathLength",
    "Phase",
    "Plan",
    "Player",
    "Profile",
    "RecipeModule",
    "Regularizer",
    "RelativisticPairing",
    "Sampler",
    "Step",
    "StepContext",
    "TrainingDivergedError",
    "TrainingRecipe",
    "TrainingState",
    "adam",
    "augmentation_for",
    "conditioning_for",
    "keep_freed_memory",
    "plan",
    "start_state",
    "train",
]
