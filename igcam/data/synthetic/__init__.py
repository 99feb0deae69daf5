"""Built-in pictures with exact masks, and cues simulated from true masks."""
