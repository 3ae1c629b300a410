"""What is shown: on a terminal, as the page of a run, as the figure of a comparison; the demo."""
