"""Names of TensorFlow 1 that are missing here, and what to write instead; knows no other module.

A module of the package explains its missing names by one line::

    __getattr__ = _missing.of("tf.train")
"""

import difflib
import sys
from collections.abc import Callable
from typing import Any

# What to do -> the names, without tf.  A namespace stands for everything below it.
ADVICE: dict[str, str] = {
    "Make it an argument of the function that builds the model.": """
        placeholder placeholder_with_default sparse_placeholder
    """,
    "PyTorch runs at once: call the function, and read the tensors that it returns.": """
        InteractiveSession Session get_default_session
    """,
    "It configures a session, and there is none: leave it out.": """
        ConfigProto GPUOptions OptimizerOptions RunMetadata RunOptions
    """,
    "There is no graph: the store has the variables, and a pass has the collections.": """
        Graph GraphDef GraphOptions MetaGraphDef NodeDef Operation container
        get_default_graph get_seed graph_util import_graph_def init_scope load_op_library
    """,
    "The default store is in the graph's place: ts.reset_default_store().": "reset_default_graph",
    "Read it with tf.get_collection, add to it with tf.add_to_collection.": "get_collection_ref",
    "A variable has its value as soon as it is made: leave the line out.": """
        global_variables_initializer initialize_all_tables initialize_all_variables
        initialize_local_variables initialize_variables initializers.global_variables
        initializers.local_variables initializers.tables_initializer initializers.variables
        is_variable_initialized local_variables_initializer report_uninitialized_variables
        tables_initializer variables_initializer
    """,
    "torchscope.checkpoint.load(net, path) reads TensorFlow's checkpoints, save writes them.": """
        contrib.framework.assign_from_checkpoint contrib.framework.assign_from_checkpoint_fn
        contrib.framework.assign_from_values contrib.framework.assign_from_values_fn
        contrib.framework.init_from_checkpoint
        contrib.slim.assign_from_checkpoint contrib.slim.assign_from_checkpoint_fn
        contrib.slim.assign_from_values contrib.slim.assign_from_values_fn saved_model
        train.Checkpoint train.CheckpointManager train.Saver train.checkpoints_iterator
        train.export_meta_graph train.get_checkpoint_mtimes train.import_meta_graph
        train.init_from_checkpoint train.remove_checkpoint
        train.update_checkpoint_state train.warm_start train.write_graph
    """,
    "torchscope.checkpoint.list_variables(path) lists the names and shapes.": """
        contrib.framework.list_variables train.list_variables
    """,
    "torchscope.checkpoint.load_variable(path, name) reads it.": """
        contrib.framework.load_variable train.load_variable
    """,
    "torchscope.checkpoint.open(path) is a mapping from the names to the tensors.": """
        contrib.framework.load_checkpoint train.NewCheckpointReader train.load_checkpoint
    """,
    "torchscope.checkpoint.latest_checkpoint(folder) is its path, or None.": """
        train.checkpoint_exists train.get_checkpoint_state train.latest_checkpoint
    """,
    "Training is a loop in Python: call the net, loss.backward(), optimizer.step().": """
        contrib.learn contrib.slim.evaluation contrib.slim.learning contrib.slim.optimize_loss
        contrib.tfprof estimator profiler
        train.CheckpointSaverHook train.CheckpointSaverListener train.ChiefSessionCreator
        train.FeedFnHook train.FinalOpsHook train.GlobalStepWaiterHook
        train.LoggingTensorHook train.LooperThread train.MonitoredSession
        train.MonitoredTrainingSession train.NanLossDuringTrainingError train.NanTensorHook
        train.ProfilerHook train.Scaffold train.SecondOrStepTimer train.SessionCreator
        train.SessionManager train.SessionRunArgs train.SessionRunContext
        train.SessionRunHook train.SessionRunValues train.SingularMonitoredSession
        train.StepCounterHook train.StopAtStepHook train.SummarySaverHook train.Supervisor
        train.WorkerSessionCreator train.basic_train_loop
    """,
    "DDP and FSDP train a ScopedModule on several devices, like any nn.Module.": """
        DeviceSpec contrib.all_reduce contrib.distribute contrib.nccl contrib.tpu distribute
        tpu train.ClusterDef train.ClusterSpec train.JobDef train.Server train.ServerDef
        train.SyncReplicasOptimizer train.replica_device_setter
    """,
    "torch.utils.data.DataLoader reads the data; pass it to the function.": """
        ConditionalAccumulator FIFOQueue FixedLenFeature FixedLenSequenceFeature
        FixedLengthRecordReader IdentityReader LMDBReader PaddingFIFOQueue PriorityQueue
        QueueBase RandomShuffleQueue ReaderBase SparseConditionalAccumulator SparseFeature
        TFRecordReader TextLineReader VarLenFeature WholeFileReader contrib.data
        contrib.slim.data contrib.slim.dataset contrib.slim.dataset_data_provider
        contrib.slim.embedding_column contrib.slim.prefetch_queue
        contrib.slim.real_valued_column contrib.slim.sparse_column_with_hash_bucket
        contrib.slim.tfexample_decoder contrib.staging data decode_compressed decode_csv
        decode_json_example decode_raw feature_column io matching_files parse_example
        parse_sequence_example parse_single_example parse_single_sequence_example
        parse_tensor python_io queue read_file serialize_many_sparse serialize_sparse
        serialize_tensor train.BytesList train.Coordinator train.Example train.Feature
        train.FeatureList train.FeatureLists train.Features train.FloatList train.Int64List
        train.QueueRunner train.SequenceExample train.add_queue_runner train.batch
        train.batch_join train.input_producer train.limit_epochs train.match_filenames_once
        train.maybe_batch train.maybe_batch_join train.maybe_shuffle_batch
        train.maybe_shuffle_batch_join train.queue_runner train.range_input_producer
        train.shuffle_batch train.shuffle_batch_join train.slice_input_producer
        train.start_queue_runners train.string_input_producer write_file
    """,
    "torchvision.datasets has such data; pass it to the function as arrays.": """
        contrib.learn.datasets examples
    """,
    "PIL or torchvision reads and writes images; pass arrays to the function.": """
        contrib.ffmpeg image.decode_and_crop_jpeg image.decode_bmp image.decode_gif
        image.decode_image image.decode_jpeg image.decode_png image.draw_bounding_boxes
        image.encode_jpeg image.encode_png image.extract_jpeg_shape image.is_jpeg
    """,
    "torchmetrics has it; an accuracy is tf.reduce_mean(tf.to_float(tf.equal(a, b))).": """
        contrib.metrics contrib.slim.metrics metrics
    """,
    "torchmetrics.functional.image computes it, of images with channels first.": """
        image.psnr image.ssim image.ssim_multiscale
    """,
    "torchvision.ops has nms, roi_align and roi_pool, channels first.": """
        image.combined_non_max_suppression image.non_max_suppression
        image.non_max_suppression_overlaps image.non_max_suppression_padded
        image.non_max_suppression_with_scores image.roi_pooling
        image.sample_distorted_bounding_box
    """,
    "torch.utils.tensorboard.SummaryWriter writes summaries, outside of the model.": """
        Event Summary contrib.summary summary.Event summary.FileWriter
        summary.FileWriterCache summary.Summary summary.SummaryDescription
        summary.TaggedRunMetadata summary.get_summary_description summary.initialize
        train.SummaryWriter train.summary_iterator
    """,
    "It is the old name of a function in tf.summary, and would do nothing: leave the line out.": """
        audio_summary histogram_summary image_summary merge_all_summaries merge_summary
        scalar_summary
    """,
    "Write FLAGS = argparse.Namespace(rate=0.01, ...); argparse can fill it.": """
        app flags
    """,
    "open, os.path.exists, os.makedirs, os.listdir and glob.glob do it.": "contrib.gfile gfile",
    "torch has no tensors of strings: do it in Python, before the model.": """
        as_string contrib.lookup decode_base64 edit_distance encode_base64 lookup
        reduce_join regex_full_match regex_replace string string_join string_length
        string_split string_strip string_to_hash_bucket string_to_hash_bucket_fast
        string_to_hash_bucket_strong string_to_number strings substr unicode_decode
        unicode_encode unicode_script unicode_split unicode_transcode
    """,
    "torch.distributions has Normal, Categorical, kl_divergence and more; mean is an attribute"
    " there, sample takes a shape.": """
        contrib.bayesflow contrib.distributions distributions
    """,
    "torch.stft, torch.istft and torch.fft compute it.": """
        contrib.signal fft fft2d fft3d ifft ifft2d ifft3d irfft irfft2d rfft rfft2d signal
        spectral
    """,
    "It is a product with a matrix: torch.diag_embed(x) @ y for LinearOperatorDiag.": """
        contrib.linalg linalg.LinearOperator linalg.LinearOperatorBlockDiag
        linalg.LinearOperatorComposition linalg.LinearOperatorDiag
        linalg.LinearOperatorFullMatrix linalg.LinearOperatorIdentity
        linalg.LinearOperatorKronecker linalg.LinearOperatorLowRankUpdate
        linalg.LinearOperatorScaledIdentity linalg.LinearOperatorZeros
    """,
    "Its nets are ordinary programs: copy the file, and run torchscope port on it.": """
        contrib.slim.nets contrib.slim.python
    """,
    "The package pytorch-crf has it: CRF(num_tags, batch_first=True).": "contrib.crf",
    "Write the loop over the steps in Python, and call the cell in it.": """
        contrib.legacy_seq2seq contrib.seq2seq nn.seq2seq
    """,
    "tf.nn.dynamic_rnn with a BasicLSTMCell uses torch's fused LSTM by itself.": """
        contrib.cudnn_rnn
    """,
    "tf.nn.sampled_softmax_loss and nce_loss draw their candidates themselves.": """
        nn.all_candidate_sampler nn.compute_accidental_hits nn.learned_unigram_candidate_sampler
    """,
    "torch.nn.functional.ctc_loss has the loss; its blank is class 0, TensorFlow's the last.": """
        nn.collapse_repeated nn.ctc_beam_search_decoder nn.ctc_beam_search_decoder_v2
        nn.ctc_greedy_decoder nn.ctc_loss nn.ctc_loss_v2 nn.ctc_unique_labels
    """,
    "Derive from tf.nn.rnn_cell.RNNCell: your own cell is written as in TensorFlow.": """
        contrib.rnn.AttentionCellWrapper contrib.rnn.BidirectionalGridLSTMCell
        contrib.rnn.Conv1DLSTMCell contrib.rnn.Conv2DLSTMCell contrib.rnn.Conv3DLSTMCell
        contrib.rnn.ConvLSTMCell contrib.rnn.CoupledInputForgetGateLSTMCell
        contrib.rnn.GLSTMCell contrib.rnn.GridLSTMCell contrib.rnn.HighwayWrapper
        contrib.rnn.IntersectionRNNCell contrib.rnn.LSTMBlockFusedCell contrib.rnn.NASCell
        contrib.rnn.NTMCell contrib.rnn.PhasedLSTMCell contrib.rnn.SRUCell
        contrib.rnn.TimeFreqLSTMCell contrib.rnn.UGRNNCell contrib.rnn.WeightNormLSTMCell
    """,
    "tf.train.AdagradOptimizer is the nearest.": "train.AdagradDAOptimizer",
    "What has a value is known here: write x itself, or x.item() or x.tolist() of a tensor.": """
        constant_value constant_value_as_shape contrib.util
    """,
    "tf.custom_gradient gives a function a gradient of its own.": """
        Defun NoGradient NotDifferentiable RegisterGradient
    """,
    "torch.compile compiles a net as it is: leave the line out.": """
        autograph contrib.autograph contrib.compiler contrib.eager contrib.graph_editor
        contrib.lite contrib.tensorrt function lite xla
    """,
    "torch.ao.quantization quantizes.": """
        contrib.quantize dequantize fake_quant_with_min_max_args
        fake_quant_with_min_max_vars fake_quant_with_min_max_vars_per_channel quantization
        quantize quantize_v2 quantized_concat
    """,
    "Use torch.cuda.is_available() and torch.cuda.device_count().": """
        config test
    """,
    "Code for TensorFlow 1 is what runs here: leave the line out.": """
        disable_control_flow_v2 disable_eager_execution disable_resource_variables
        disable_v2_behavior disable_v2_tensorshape enable_control_flow_v2
        enable_eager_execution enable_resource_variables enable_v2_behavior
        enable_v2_tensorshape
    """,
    "Write x for tf.compat.as_text(x), x.encode() for as_bytes(x), tf.y for tf.compat.v1.y.": """
        compat
    """,
    "Call the Python function directly, with the tensors.": "py_function",
    "Build it with tf.layers and tf.nn, or with torch.nn modules by ts.get_module.": """
        contrib.keras.layers contrib.keras.models keras.Input keras.Model keras.Sequential
        keras.backend keras.layers keras.losses keras.models keras.optimizers
    """,
    "Errors are Python's: ValueError, TypeError, IndexError, ZeroDivisionError.": "errors",
    "Sizes are ints, None where unknown: x.shape[0] needs no .value.": "Dimension",
    "tf itself has its functions: import torchscope.tf1 as tf, then tf.cond, tf.get_variable.": """
        array_ops control_flow_ops init_ops math_ops nn_ops python variable_scope_ops
    """,
    "tf.get_local_variable makes one that is not saved.": "contrib.framework.local_variable",
    "torch.linalg has it.": """
        linalg.eigvals linalg.lstsq linalg.lu linalg.matrix_rank linalg.pinv
    """,
    "torch.special has it: i0, i0e, i1, i1e, erfinv, ndtri, xlogy.": """
        math.bessel_i0 math.bessel_i0e math.bessel_i1 math.bessel_i1e math.erfinv math.ndtri
        math.xlogy
    """,
    "print writes a tensor's value at once.": "print",
    "It is a private name: call the function that the documentation of TensorFlow names.": """
        core layers.utils
    """,
    "torch has no equivalent; write it with torch's functions.": """
        RaggedTensor contrib.factorization contrib.gan contrib.image contrib.opt
        contrib.resampler nn.dilation2d nn.erosion2d nn.fractional_avg_pool
        nn.fractional_max_pool ragged raw_ops sets sparse_fill_empty_rows user_ops
    """,
}
INSTEAD = {f"tf.{name}": advice for advice, names in ADVICE.items() for name in names.split()}


def of(namespace: str) -> Callable[[str], Any]:
    """A module's ``__getattr__``: an AttributeError that says what to do about a missing name.

    Args:
        namespace: how users write the module, for example ``"tf.train"``.
    """

    def missing(name: str) -> Any:
        # Without `obj`, Python adds a name that looks alike: Did you mean: 'hessians'?
        raise AttributeError(
            f"{namespace}.{name} is not in torchscope.tf1. {_advice(namespace, name)}",
            name=name,
            obj=None,
        )

    return missing


def _advice(namespace: str, name: str) -> str:
    full = f"{namespace}.{name}"
    while full:
        if full in INSTEAD:
            return INSTEAD[full]
        full = full.rpartition(".")[0]
    there = [known for known in _names_of(namespace) if not known.startswith("_")]
    if nearest := difflib.get_close_matches(name, there, n=1, cutoff=0.75):
        return f"Did you mean {namespace}.{nearest[0]}?"
    return "docs/tf1.md lists the names that it has."


def _names_of(namespace: str) -> list[str]:
    found: Any = sys.modules["torchscope.tf1"]
    for part in namespace.split(".")[1:]:
        found = getattr(found, part, None)
    return dir(found)
