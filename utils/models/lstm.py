"""Keras's LSTM with one matrix product for the inputs of all time steps."""

from typing import Any

import keras
import tensorflow as tf


class LSTM(keras.layers.LSTM):
    """An LSTM that returns its outputs at all time steps, and its last state.

    It has the weights of `keras.layers.LSTM` and computes the same. At each time step an LSTM needs

        gates = inputs @ kernel + hidden @ recurrent_kernel + bias

    Only the second product depends on the previous step, yet Keras computes both in every step.
    Here the first product is computed before the loop, for all steps together, because a processor
    multiplies one large matrix faster than many small ones. The same holds for the gradient of the
    kernel. On a GPU the layer does what Keras does, which calls cuDNN.

    A model with this layer is saved by its weights: `get_config` has options that the constructor
    does not take.
    """

    def __init__(self, units: int, name: str):
        """Create the layer; the options that are not named here are Keras's defaults."""
        super().__init__(units, return_sequences=True, return_state=True, name=name)

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple[Any, Any, list[Any]]:
        """The loop over the time steps: `keras.layers.LSTM.call` calls this method.

        Args:
            sequences: `(batch, time, channels)`.
            initial_state: Hidden state and cell state, each `(batch, units)`.
            mask: Which time steps count, or None. Keras computes sequences with a mask.
            training: Without effect, as there is no dropout.

        Returns:
            The last output `(batch, units)`, all outputs `(batch, time, units)`, and the state.
        """
        if mask is not None or tf.config.list_logical_devices("GPU"):
            return super().inner_loop(sequences, initial_state, mask, training)

        # 1. What the inputs add to the gates, for all time steps: (time, batch, 4 * units).
        weights = (self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias)
        kernel, recurrent_kernel, bias = (tf.cast(weight, sequences.dtype) for weight in weights)
        time_major = tf.transpose(sequences, [1, 0, 2])
        from_inputs = tf.tensordot(time_major, kernel, axes=1) + bias

        # 2. The loop.
        num_steps = tf.shape(from_inputs)[0]
        from_inputs = tf.TensorArray(sequences.dtype, num_steps).unstack(from_inputs)
        outputs = tf.TensorArray(sequences.dtype, num_steps)

        def step(time: Any, hidden: Any, cell_state: Any, outputs: Any) -> tuple[Any, ...]:
            gates = from_inputs.read(time) + tf.matmul(hidden, recurrent_kernel)
            input_gate, forget_gate, candidate, output_gate = tf.split(gates, 4, axis=1)
            kept = tf.sigmoid(forget_gate) * cell_state
            cell_state = kept + tf.sigmoid(input_gate) * tf.tanh(candidate)
            hidden = tf.sigmoid(output_gate) * tf.tanh(cell_state)
            return time + 1, hidden, cell_state, outputs.write(time, hidden)

        _, hidden, cell_state, outputs = tf.while_loop(
            lambda time, *_: time < num_steps,
            step,
            (0, *initial_state, outputs),
            maximum_iterations=num_steps,  # XLA needs it for the gradient
        )
        batch_major = tf.transpose(outputs.stack(), [1, 0, 2])
        batch_major.set_shape([*sequences.shape[:2], self.units])
        return hidden, batch_major, [hidden, cell_state]
