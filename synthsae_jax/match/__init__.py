"""What `synthsae match` computes: inputs, evidence, credence, protocols, and the record of it."""
