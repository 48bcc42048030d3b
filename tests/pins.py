"""The names of other libraries that docs/pins.md lists, and what the code expects of each."""

from dataclasses import dataclass

SMOLVLA = "lerobot.policies.smolvla.modeling_smolvla"
VLM = "lerobot.policies.smolvla.smolvlm_with_expert:SmolVLMWithExpertModel"
FLOW, POLICY = f"{SMOLVLA}:VLAFlowMatching", f"{SMOLVLA}:SmolVLAPolicy"
ROBOSUITE = "robosuite.environments.base:MujocoEnv"
BINDINGS = "robosuite.utils.binding_utils"
ZERO_1_2 = "deepspeed.runtime.zero.stage_1_and_2:DeepSpeedZeroOptimizer"
ZERO_3 = "deepspeed.runtime.zero.stage3:DeepSpeedZeroOptimizer_Stage3"
FUSION, FROZEN = "wmvla/policy/fusion.py", "wmvla/policy/frozen_vision.py"
MODEL, ZERO = "wmvla/policy/modeling_smolvla_world.py", "wmvla/train/parallel/zero.py"
FAST = "wmvla/sim/libero/fast"


@dataclass(frozen=True)
class Pin:
    """What a file of ours expects of another library.

    Attributes:
        place: ``module:qualified.name``.
        parameters: of the function, in order; None where only the name counts.
        attribute: what an object of this class is given by its own code, as ``self.<attribute>``.
    """

    library: str
    place: str
    used_by: str
    parameters: str | None = None
    attribute: str = ""

    @property
    def name(self) -> str:
        return self.attribute or self.place.rpartition(":")[2].rpartition(".")[2]


PINS = (
    # SmolVLA in LeRobot: the gated paths and our loss go through these.
    Pin(
        "lerobot",
        f"{FLOW}.embed_prefix",
        FUSION,
        "self images img_masks lang_tokens lang_masks state",
    ),
    Pin(
        "lerobot",
        f"{FLOW}.forward",
        MODEL,
        "self images img_masks lang_tokens lang_masks state actions noise time",
    ),
    Pin("lerobot", FLOW, FUSION, attribute="vlm_with_expert"),
    Pin("lerobot", FLOW, FUSION, attribute="action_out_proj"),
    Pin("lerobot", FLOW, FUSION, attribute="action_time_mlp_out"),
    Pin("lerobot", FLOW, FUSION, attribute="prefix_length"),
    Pin(
        "lerobot",
        f"{VLM}.forward",
        FUSION,
        "self attention_mask position_ids past_key_values inputs_embeds use_cache",
    ),
    Pin(
        "lerobot",
        f"{VLM}.eager_attention_forward",
        FUSION,
        "self attention_mask batch_size head_dim query_states key_states value_states",
    ),
    Pin("lerobot", VLM, FUSION, attribute="num_attention_heads"),
    Pin("lerobot", VLM, FUSION, attribute="num_key_value_heads"),
    Pin("lerobot", VLM, FUSION, attribute="expert_hidden_size"),
    Pin("lerobot", f"{VLM}.embed_image", FROZEN, "self image"),
    Pin("lerobot", f"{VLM}.get_vlm_model", FROZEN, "self"),
    Pin("lerobot", f"{POLICY}.prepare_images", FROZEN, "self batch"),
    Pin("lerobot", f"{POLICY}.prepare_state", MODEL, "self batch"),
    Pin("lerobot", f"{POLICY}.prepare_action", MODEL, "self batch"),
    Pin("lerobot", f"{POLICY}._check_get_actions_condition", MODEL, "self"),
    Pin("lerobot", f"{POLICY}._pi_aloha_decode_state", MODEL, "self state"),
    Pin("lerobot", f"{POLICY}._pi_aloha_encode_actions_inv", MODEL, "self actions"),
    Pin("lerobot", f"{POLICY}._load_as_safetensor", MODEL, "model model_file map_location strict"),
    Pin(
        "lerobot",
        "lerobot.configs.parser:get_cli_overrides",
        "wmvla/policy/inheritance.py",
        "field_name args",
    ),
    Pin("lerobot", "lerobot.configs.parser:wrap", "wmvla/commands/lerobot_main.py", "config_path"),
    Pin(
        "lerobot",
        "lerobot.processor.rename_processor:rename_stats",
        "wmvla/policy/base_processors.py",
        "stats rename_map",
    ),
    Pin("lerobot", "lerobot.datasets.io_utils:load_stats", "wmvla/data/frames.py", "local_dir"),
    *(
        Pin("lerobot", f"lerobot.datasets.{place}", "wmvla/data/lerobot_files.py", parameters)
        for place, parameters in (
            ("io_utils:load_nested_dataset", "pq_dir features episodes"),
            ("dataset_reader:load_nested_dataset", "pq_dir features episodes"),
            ("dataset_metadata:load_tasks", "local_dir"),
            ("dataset_metadata:load_episodes", "local_dir"),
        )
    ),
    Pin(
        "lerobot",
        "lerobot.scripts.lerobot_train:update_policy",
        "wmvla/commands/train.py",
        "train_metrics policy batch optimizer grad_clip_norm accelerator lr_scheduler lock sample_weighter",
    ),
    Pin(
        "lerobot",
        "lerobot.policies.lingbot_va.modeling_lingbot_va:LingBotVAPolicy._ensure_frozen_modules",
        "wmvla/rollout/any_policy.py",
        "self",
    ),
    Pin(
        "lerobot",
        "lerobot.scripts.lerobot_train:train",
        "wmvla/commands/train.py",
        "cfg accelerator",
    ),
    Pin(
        "lerobot",
        "lerobot.scripts.lerobot_eval:eval_main",
        "wmvla/commands/evaluation/main.py",
        "cfg",
    ),
    # robosuite and LIBERO: cameras on demand, cheap resets, physics once.
    Pin(
        "robosuite",
        "robosuite.environments.robot_env:RobotEnv._create_camera_sensors",
        f"{FAST}/cameras.py",
        "self cam_name cam_w cam_h cam_d cam_segs modality",
    ),
    Pin("robosuite", f"{ROBOSUITE}._initialize_sim", f"{FAST}/resets.py", "self xml_string"),
    Pin("robosuite", f"{ROBOSUITE}._update_observables", "wmvla/sim/libero/env.py", "self force"),
    Pin("robosuite", ROBOSUITE, f"{FAST}/resets.py", attribute="hard_reset"),
    Pin("robosuite", f"{BINDINGS}:MjSim.forward", f"{FAST}/physics.py", "self"),
    Pin("robosuite", f"{BINDINGS}:MjSim.step", f"{FAST}/physics.py", "self with_udd"),
    Pin("robosuite", f"{BINDINGS}:MjSim.reset", f"{FAST}/resets.py", "self"),
    Pin(
        "robosuite",
        f"{BINDINGS}:MjSim",
        f"{FAST}/cameras.py",
        attribute="_render_context_offscreen",
    ),
    Pin("robosuite", f"{BINDINGS}:MjRenderContext", f"{FAST}/cameras.py", attribute="gl_ctx"),
    Pin("robosuite", f"{BINDINGS}:MjModel", f"{FAST}/physics.py", attribute="_model"),
    Pin("robosuite", f"{BINDINGS}:MjData", f"{FAST}/physics.py", attribute="_data"),
    Pin(
        "robosuite",
        f"{BINDINGS}:MjRenderContext.render",
        f"{FAST}/drawing.py",
        "self width height camera_id segmentation",
    ),
    *(
        Pin("robosuite", f"{BINDINGS}:MjRenderContext", f"{FAST}/drawing.py", attribute=attribute)
        for attribute in ("con", "scn", "vopt", "pert", "cam")
    ),
    Pin(
        "robosuite",
        "robosuite.models.grippers.gripper_model:GripperModel",
        f"{FAST}/resets.py",
        attribute="current_action",
    ),
    Pin("robosuite", "robosuite.utils.errors:RandomizationError", f"{FAST}/resets.py"),
    Pin(
        "hf-libero",
        "libero.libero.envs.bddl_base_domain:BDDLBaseDomain._post_process",
        "wmvla/sim/libero/env.py",
        "self",
    ),
    Pin(
        "hf-libero",
        "libero.libero.envs.bddl_base_domain:BDDLBaseDomain",
        f"{FAST}/resets.py",
        attribute="object_property_initializers",
    ),
    Pin("hf-libero", "libero.libero:_assets_path_cache", "wmvla/sim/libero/assets.py"),
    Pin("hf-libero", "libero.libero.envs:TASK_MAPPING", "wmvla/sim/libero/env.py"),
    Pin("hf-libero", "libero.libero.benchmark:task_maps", "wmvla/sim/libero/language.py"),
    # DeepSpeed: the strategies zero1 to zero3.
    Pin("deepspeed", f"{ZERO_1_2}._lazy_init_hp_params_optimizer_state", ZERO, "self"),
    Pin("deepspeed", ZERO_1_2, ZERO, attribute="single_partition_of_fp32_groups"),
    Pin("deepspeed", ZERO_1_2, ZERO, attribute="averaged_gradients"),
    Pin("deepspeed", ZERO_3, ZERO, attribute="fp32_partitioned_groups_flat"),
    Pin("deepspeed", ZERO_3, ZERO, attribute="averaged_gradients"),
    Pin("deepspeed", ZERO_3, ZERO, attribute="sub_group_to_group_id"),
    Pin("deepspeed", "deepspeed.ops:__compatible_ops__", ZERO),
    *(
        Pin("deepspeed", f"deepspeed.utils:{name}", ZERO, parameters)
        for name, parameters in {
            "safe_get_full_optimizer_state": "param optim_state_key",
            "safe_set_full_optimizer_state": "param value optim_state_key",
            "safe_set_local_optimizer_state": "param value optim_state_key",
        }.items()
    ),
    # torch, accelerate, transformers, pytest.
    Pin("torch", "torch:_foreach_norm", "wmvla/train/step.py"),
    Pin("torch", "torch:_foreach_mul_", "wmvla/train/step.py"),
    Pin(
        "torch",
        "torch.distributed.fsdp:FSDPModule.set_force_sum_reduction_for_comms",
        "wmvla/train/parallel/fsdp.py",
        "self enable",
    ),
    Pin(
        "accelerate",
        "accelerate:Accelerator.prepare_model",
        "wmvla/train/parallel/fsdp.py",
        "self model device_placement evaluation_mode",
    ),
    Pin("accelerate", "accelerate.tracking:LOGGER_TYPE_TO_CLASS", "wmvla/train/trackers.py"),
    Pin(
        "transformers",
        "transformers:VJEPA2Model.get_vision_features",
        "wmvla/world/encoder.py",
        "self pixel_values_videos",
    ),
    Pin(
        "transformers",
        "transformers:PretrainedConfig",
        "wmvla/world/encoder.py",
        attribute="_commit_hash",
    ),
    Pin(
        "pytest",
        "_pytest.capture:CaptureManager.global_and_fixture_disabled",
        "suites/conftest.py",
        "self",
    ),
)
