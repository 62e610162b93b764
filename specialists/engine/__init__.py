"""Continuous batching over one base with mixed adapters: plain classes, no cluster needed.

Runner (thread) → Engine.step() = Scheduler.schedule → Llama.forward → sample → TextStream
"""
