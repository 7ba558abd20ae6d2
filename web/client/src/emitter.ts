type Handler = (payload: never) => unknown

/** Handlers by event name, typed. A handler that throws, or whose promise is rejected, keeps nobody else from the event. */
export class Emitter<Events extends object> {
  /** The handlers of each event, and whether each one is for the next event only. */
  #handlers = new Map<keyof Events, Map<Handler, boolean>>()

  /** Calls `handler` with every such event. The function that comes back removes it. */
  on<Name extends keyof Events>(name: Name, handler: (payload: Events[Name]) => unknown): () => void {
    return this.#add(name, handler, false)
  }

  /** Calls `handler` with the next such event and no other. */
  once<Name extends keyof Events>(name: Name, handler: (payload: Events[Name]) => unknown): () => void {
    return this.#add(name, handler, true)
  }

  /** Removes a handler that `on` or `once` added. */
  off<Name extends keyof Events>(name: Name, handler: (payload: Events[Name]) => unknown): void {
    this.#handlers.get(name)?.delete(handler as Handler)
  }

  #add(name: keyof Events, handler: unknown, once: boolean): () => void {
    const handlers = this.#handlers.get(name) ?? new Map<Handler, boolean>()
    handlers.set(handler as Handler, once)
    this.#handlers.set(name, handlers)
    this.attached(name)
    return () => handlers.delete(handler as Handler)
  }

  /** Whether anybody listens for an event. */
  protected listens(name: keyof Events): boolean {
    return (this.#handlers.get(name)?.size ?? 0) > 0
  }

  protected emit<Name extends keyof Events>(name: Name, payload: Events[Name]): void {
    const handlers = this.#handlers.get(name)
    for (const [handler, once] of [...(handlers ?? [])]) {
      if (!handlers?.has(handler)) continue
      if (once) handlers.delete(handler)
      try {
        const done = (handler as (payload: Events[Name]) => unknown)(payload)
        if (done instanceof Promise) done.catch((error: unknown) => this.failed(String(name), error))
      } catch (error) {
        this.failed(String(name), error)
      }
    }
  }

  /** A handler was added. */
  protected attached(_name: keyof Events): void {}

  /** A handler threw. */
  protected failed(event: string, error: unknown): void {
    console.error(`switchboard: a handler of ${event} threw`, error)
  }
}
