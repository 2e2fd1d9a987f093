"""What captions are worth: diversity, faithfulness, intervals. No metric sees a model."""
