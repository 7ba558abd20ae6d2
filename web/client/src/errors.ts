/** Why the server said no. */
export class SwitchboardError extends Error {
  constructor(
    /** The stable machine code, such as `RATE_LIMITED`. */ readonly reason: string,
    message: string,
    /** The HTTP status that goes with it. */ readonly status: number,
    readonly details?: Record<string, unknown>,
  ) {
    super(message)
    this.name = 'SwitchboardError'
  }

  /** Milliseconds after which a try may succeed. */
  get retryAfterMs(): number | undefined {
    return this.details?.['retryAfterMs'] as number | undefined
  }
}

/** A handler of the application threw; `cause` is what it threw. It has the members of the server's own `error` event. */
export class HandlerError extends Error {
  readonly code = 'HANDLER_FAILED'
  readonly status = 0
  readonly timestamp = new Date().toISOString()

  constructor(/** The event whose handler threw. */ readonly event: string, override readonly cause: unknown) {
    super(`A handler of ${event} threw: ${cause instanceof Error ? cause.message : String(cause)}`)
    this.name = 'HandlerError'
  }

  get error(): string {
    return this.message
  }
}

/** `Authentication error: Invalid token [TOKEN_EXPIRED]` → its parts. */
export function refusal(error: Error): Error {
  const [, text, reason] = error.message.match(/^(.*) \[([A-Z_]+)\]$/) ?? []
  return text && reason ? new SwitchboardError(reason, text, 401) : error
}
