"""The policy: a transformers language model with a value head, as stable-baselines3 sees it."""

from __future__ import annotations

from collections.abc import Mapping
from os.path import expanduser
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parameters_to_vector
from transformers import PreTrainedTokenizerBase

from persona_env.errors import InputError
from persona_env.models.hf import quiet
from persona_env.models.merging import base_model, is_peft_model, save_merged
from persona_env.rl.kl import k2, kl_divergence
from persona_env.rl.loading import TrainableModel, check_spaces, load_trainable
from persona_env.rl.lora import LoraOptions
from persona_env.rl.packed_forward import (
    ChoicePositions,
    MemoryLimits,
    checkpointing_layers,
    choice_logits,
    choice_scores,
    choice_states,
    forbid,
    log_probabilities,
    sample_tokens,
)
from persona_env.rl.reference import Reference
from persona_env.rl.shared_prefix_attention import shares_prefixes
from persona_env.rl.value_head import ValueHead
from persona_env.spaces import TokenContext
from persona_env.speakers.decoding.decoder import Decoder
from persona_env.speakers.decoding.kv_cache import make_decoder

__all__ = ["TokenPolicy"]

_EXACT_VOCABULARY = 32_768  # with more token ids a full KL (or entropy) in the loss takes too much memory


class TokenPolicy(ActorCriticPolicy):
    """A causal language model that chooses tokens, to be given to PPO or A2C as the policy.

    In a rollout keys and values stay cached. In the update one forward pass scores all tokens of a trajectory. Both
    give the same log-probabilities as a full forward pass for each token, to 1e-5 in float32. Dropout is off in both.

    Model, tokenizer, template and `lora` (`LoraOptions`, or its keywords) are those of `load_trainable`, and
    `value_width`, `value_scale` and `value_gradient` those of `ValueHead`.

    Args:
        reference: The reference model of the KL penalty: None, `initial` (the model as it is now; with adapters:
            without them), a spec or a model.
        micro_batch: Tokens, padding included, of one forward and backward pass; the gradient of a step is
            summed over such passes, each of which is run a second time. None: one pass.
        gradient_checkpointing: Whether a pass keeps only the inputs of layers, and runs each layer again.
        forbidden_ids: Tokens that are never sampled; None: the chat format's, or the padding.

    Raises:
        InputError: If the model cannot be loaded, has other tokens, or cannot read the longest context.
    """

    lm: Any
    reference: Reference | None  # no submodule and never trained; a copy of the initial model is saved with the policy
    tokenizer: PreTrainedTokenizerBase | None
    _forbidden: Tensor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        use_sde: bool = False,
        *,
        model: Any = "tiny",
        tokenizer: PreTrainedTokenizerBase | None = None,
        chat_template: str | None = None,
        template_kwargs: Mapping[str, Any] | None = None,
        reference: Any = None,
        lora: LoraOptions | Mapping[str, Any] | None = None,
        micro_batch: int | None = None,
        gradient_checkpointing: bool = False,
        forbidden_ids: tuple[int, ...] | None = None,
        value_scale: float = 8.0,
        value_width: int = 64,
        value_gradient: bool = False,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ):
        if use_sde:
            raise InputError("Expected use_sde=False, got True: tokens have no state-dependent noise.")
        self.lora = LoraOptions.of(lora)
        trainable = load_trainable(model, tokenizer, chat_template, template_kwargs, lora=self.lora)
        self.limits = _checked_limits(trainable.model, micro_batch, gradient_checkpointing)
        self.vocabulary = check_spaces(trainable, observation_space, action_space)
        assert isinstance(observation_space, TokenContext)  # `check_spaces` has seen to it
        self._trainable = trainable  # a plain record: modules can be set after super().__init__ only
        self._value_options = (value_width, value_scale, value_gradient)
        self.context, self.pad_id = observation_space.context, observation_space.pad_id
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=[],
            ortho_init=False,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )
        if forbidden_ids is None:
            forbidden_ids = self.chat.forbidden_ids if self.chat else ()
        self.forbidden_ids = tuple(sorted({*map(int, forbidden_ids), self.pad_id}))
        self.register_buffer("_forbidden", torch.tensor(self.forbidden_ids, dtype=torch.long), persistent=False)
        self.reference = self._load_reference(reference)
        is_copy = reference == "initial" and self.reference is not None and not self.reference.adapters_off
        self._initial = list(self.reference.model.parameters()) if is_copy and self.reference else []
        self.train(False)
        buffer, observation_space.rollout_link = observation_space.rollout_link, None
        self._rollout_rows = 0 if buffer is None else buffer.n_envs
        self.kl_in_loss = buffer is not None and buffer.kl_in == "loss"
        if buffer is not None:
            buffer.bind(self)

    def _build(self, lr_schedule: Schedule) -> None:
        trainable: TrainableModel = self._trainable
        self.lm, self.tokenizer, self.chat = trainable.model, trainable.tokenizer, trainable.chat
        width = self.lm.get_output_embeddings().weight.shape[1]
        self.value_head = ValueHead(width, *self._value_options)
        if trainable.folder:
            self.value_head.load(trainable.folder)
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        options: dict[str, Any] = {"lr": lr_schedule(1), **self.optimizer_kwargs}
        self.optimizer = self.optimizer_class(trained, **options)
        self._decoders: dict[bool, Decoder] = {}  # True: that of rollouts; False: the other, see `_decoder`
        self._watched, self._version = list(self.lm.parameters()), -1
        self._shares_prefixes: bool | None = None

    def _load_reference(self, reference: Any) -> Reference | None:
        if reference is None:
            return None
        if reference == "initial":
            return Reference.initial(self.lm)
        loaded = load_trainable(reference, self.tokenizer)
        check_spaces(loaded, self.observation_space, self.action_space)
        if loaded.model is self.lm:
            raise InputError("Expected a reference that stays as it is, got the policy's own model: say 'initial'.")
        return Reference(loaded.model)

    def get_extra_state(self) -> Tensor:
        """Returns the weights of a copied reference, end to end, which stable-baselines3 saves with the policy's."""
        return parameters_to_vector(self._initial) if self._initial else torch.empty(0)

    @torch.no_grad()
    def set_extra_state(self, state: Tensor) -> None:
        """Loads what `get_extra_state` returned; a policy without a copied reference has no use for it."""
        if self._initial and len(state):
            pieces = state.split([weight.numel() for weight in self._initial])
            for weight, piece in zip(self._initial, pieces, strict=True):
                weight.copy_(piece.view_as(weight))

    def train(self, mode: bool = True) -> TokenPolicy:
        """Sets the mode; the language model's dropout stays off, or the update would not score what was sampled."""
        super().train(mode)
        self.lm.eval()
        if mode:
            self.clear_cache()
        return self

    def clear_cache(self) -> None:
        """Empties the KV caches; needed only if weights were replaced in a way that torch does not count."""
        for decoder in self._decoders.values():
            decoder.clear_cache()

    def reset_cache(self) -> None:
        """Drops the KV caches; later results are bit-identical to those of a new policy with these weights."""
        self._decoders.clear()

    @torch.no_grad()
    def forward(self, obs: Tensor, deterministic: bool = False, rollout: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """Returns chosen tokens (N,), values (N, 1) and log-probabilities (N,) for contexts (N, context)."""
        logits, hidden = self._read(obs, rollout)
        log_probs = logits.log_softmax(-1)
        actions = log_probs.argmax(-1) if deterministic else sample_tokens(log_probs)
        return actions, self.value_head(hidden), log_probs.gather(-1, actions[:, None])[:, 0]

    def evaluate_actions(self, obs: Any, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Returns values (A, 1), log-probabilities (A,) and entropies (A,) of chosen tokens.

        With `kl_in="loss"` minus the KL to the reference takes the place of the entropy. For a large vocabulary
        there is no entropy (None: stable-baselines3 then estimates it from the samples). `obs` are `ChoicePositions` in
        packed trajectories, or padded contexts (A, context).
        """
        positions = _positions(obs, self.pad_id)
        if self.kl_in_loss and isinstance(obs, ChoicePositions):
            return self._evaluate_with_kl(positions, actions)
        small = self.vocabulary <= _EXACT_VOCABULARY
        scores = choice_scores(self._model, positions, actions, self._allowed, limits=self.limits, entropy=small)
        return self.value_head(scores.hidden), scores.chosen, scores.entropy

    def predict_values(self, obs: Any) -> Tensor:
        """Returns values (N, 1); the contexts of a running rollout are read from its cache, others in full."""
        if torch.is_grad_enabled() or True not in self._decoders or len(obs) != self._rollout_rows:
            return self.value_head(choice_states(self._model, _positions(obs, self.pad_id), limits=self.limits))
        return self.value_head(self._read(obs, rollout=True)[1])

    def get_distribution(self, obs: Any) -> Distribution:
        """Returns the distribution of the next token for each context."""
        if torch.is_grad_enabled() or isinstance(obs, ChoicePositions):
            with sdpa_kernel(SDPBackend.MATH):  # TRPO differentiates twice, which torch's fast kernels cannot
                logits = self._allowed(choice_logits(self._model, _positions(obs, self.pad_id))[0])
        else:
            logits = self._read(obs, rollout=False)[0]
        return CategoricalDistribution(self.vocabulary).proba_distribution(logits)

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        return self.forward(observation, deterministic, rollout=False)[0]

    def reference_log_probs(self, obs: Any, actions: Tensor) -> Tensor:
        """Returns the reference's log-probabilities of chosen tokens (A,); see `evaluate_actions`."""
        assert self.reference is not None
        positions, actions = _positions(obs, self.pad_id), actions.reshape(-1).long()
        return self.reference.log_probs(positions, actions, self._allowed, self.limits)

    def _evaluate_with_kl(self, positions: ChoicePositions, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values (A, 1), log-probabilities of chosen tokens and minus the KL to the reference, (A,) each."""
        assert self.reference is not None
        if self.vocabulary > _EXACT_VOCABULARY:
            chosen, _, hidden = choice_scores(self._model, positions, actions, self._allowed, limits=self.limits)
            reference = self.reference.log_probs(positions, actions, self._allowed, self.limits)
            return self.value_head(hidden), chosen, -k2(chosen, reference)
        logits, hidden = choice_logits(self._model, positions, limits=self.limits)
        chosen, log_probs = log_probabilities(self._allowed(logits), actions)
        reference = self._allowed(self.reference.logits(positions, self.limits)).log_softmax(-1)
        return self.value_head(hidden), chosen, -kl_divergence(log_probs, reference)

    @property
    def shares_prefixes(self) -> bool:
        """Whether the segments of a dialogue can share a row of the update, for the reference too."""
        if self._shares_prefixes is None:
            models = [self._model] if self.reference is None else [self._model, base_model(self.reference.model)]
            self._shares_prefixes = all(map(shares_prefixes, models))
        return self._shares_prefixes

    @property
    def _model(self) -> Any:
        """The transformers model itself; adapters, if any, are in its layers."""
        return base_model(self.lm)

    def _allowed(self, logits: Tensor) -> Tensor:
        return forbid(logits[..., : self.vocabulary].float(), self._forbidden)

    def _read(self, obs: Tensor, rollout: bool) -> tuple[Tensor, Tensor]:
        """Logits (N, V) and hidden states (N, d) after each context; only what is new is run."""
        if obs.is_floating_point():
            raise InputError(f"Expected token ids, got {obs.dtype}: give VecNormalize norm_obs=False.")
        contexts = obs.cpu().numpy()
        lengths = (contexts != self.pad_id).sum(1)
        if rollout and not self._rollout_rows:
            self._rollout_rows = len(contexts)
        decoder = self._decoder(len(contexts), rollout and len(contexts) == self._rollout_rows)
        rows = None if decoder.rows == len(contexts) else np.arange(len(contexts))
        logits, hidden = decoder.extend(contexts[:, : lengths.max()], lengths, rows)
        return self._allowed(logits), hidden

    def _decoder(self, rows: int, rollout: bool) -> Decoder:
        """The rollout's decoder, or the one other, which grows to the largest batch that was evaluated."""
        version = sum(parameter._version for parameter in self._watched)
        if version != self._version:
            self.clear_cache()
            self._version = version
        found = self._decoders.get(rollout)
        if found is None or found.rows < rows:
            self._decoders.pop(rollout, None)
            found = self._decoders[rollout] = make_decoder(self._model, rows, self.context)
        return found

    def _apply(self, *args: Any, **kwargs: Any) -> TokenPolicy:
        self._decoders.clear()  # their tensors are on the device that the model leaves
        return super()._apply(*args, **kwargs)

    def save_pretrained(self, folder: str | Path, *, adapter: bool = False) -> None:
        """Saves the model (adapters merged), the tokenizer with its chat template, and the value head.

        The folder is an ordinary Hugging Face model: transformers, vLLM and the hosts load it, and so does
        `TokenPolicy(model="hf:<folder>")`, which also finds the value head. With `adapter` the adapters, if any (else
        InputError), are also saved alone, in `adapter/`, in the format of `peft`.
        """
        if adapter and not is_peft_model(self.lm):
            raise InputError("Expected a policy with adapters for adapter=True, got none: give lora= at the start.")
        folder = Path(expanduser(folder))
        with quiet():
            save_merged(self._model, folder)
            if self.chat is not None:
                self.chat.save_pretrained(folder)
            if adapter:
                self.lm.save_pretrained(folder / "adapter", save_embedding_layers=False)
        self.value_head.save(folder)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        """The arguments with which `load` makes a policy. Prefer `save_pretrained`: loading a pickle runs code."""
        return dict(
            observation_space=self.observation_space,
            action_space=self.action_space,
            lr_schedule=self._dummy_schedule,
            model=self.lm.config,
            tokenizer=self.tokenizer,
            chat_template=self.chat.template if self.chat else None,
            lora=self.lora,
            micro_batch=self.limits.tokens,
            gradient_checkpointing=self.limits.layers,
            forbidden_ids=self.forbidden_ids,
            value_width=self._value_options[0],
            value_scale=self._value_options[1],
            value_gradient=self._value_options[2],
            optimizer_class=self.optimizer_class,
            optimizer_kwargs=self.optimizer_kwargs,
        )


def _checked_limits(model: Any, micro_batch: int | None, by_layer: bool) -> MemoryLimits:
    if micro_batch is not None and micro_batch < 1:
        raise InputError(f"Expected micro_batch >= 1 tokens, got {micro_batch}: 4096 suits most GPUs.")
    if by_layer and not checkpointing_layers(model):
        raise InputError(
            f"Expected a model whose layers support gradient checkpointing, got {type(model).__name__}: "
            "leave gradient_checkpointing out; micro_batch limits the memory too."
        )
    return MemoryLimits(tokens=micro_batch, layers=by_layer)


def _positions(obs: Any, pad_id: int) -> ChoicePositions:
    """Where the choices are, in packed trajectories or in padded contexts (A, context)."""
    if isinstance(obs, ChoicePositions):
        return obs
    lengths = (obs != pad_id).sum(1)
    rows = torch.arange(len(obs), device=obs.device)
    return ChoicePositions(obs[:, : int(lengths.max())].long(), rows, lengths - 1)
