"""The paper's recipe: samples from recorded runs, a global and a local stage, adapters that ship."""
