"""What every room speaks: tensors, messages, models and the seams between rooms. numpy and stdlib only."""
