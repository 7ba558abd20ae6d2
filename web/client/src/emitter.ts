/** Handlers by event name, typed. */
export class Emitter<Events extends object> {
  #handlers = new Map<keyof Events, Set<(payload: never) => void>>()

  /** Calls `handler` with every such event; the function that comes back stops it. */
  on<Name extends keyof Events>(name: Name, handler: (payload: Events[Name]) => void): () => void {
    const handlers = this.#handlers.get(name) ?? new Set()
    handlers.add(handler as (payload: never) => void)
    this.#handlers.set(name, handlers)
    return () => handlers.delete(handler as (payload: never) => void)
  }

  protected tell<Name extends keyof Events>(name: Name, payload: Events[Name]): void {
    for (const handler of [...(this.#handlers.get(name) ?? [])]) (handler as (payload: Events[Name]) => void)(payload)
  }
}
