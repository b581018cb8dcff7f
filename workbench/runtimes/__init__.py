"""From a model file to something that runs: platform name -> Session."""
