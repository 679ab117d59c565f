"""What a pretraining run will take, on paper: parameters, memory a device, time, cost. Pure."""
