"""Cancel requests whose client has closed the connection."""

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def cancel_on_disconnect(app: ASGIApp) -> ASGIApp:
    """Wrap an application so that it is cancelled when its client disconnects; inference stops at the next batch.

    Args:
        app: The application; it sends no streams. ``RequestBodyLimitMiddleware`` has put the whole body of the request
            into the first message.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        body = [await receive()]
        disconnected = anyio.Event()

        async def replay() -> Message:
            if body:
                return body.pop()
            await disconnected.wait()
            return {"type": "http.disconnect"}

        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                disconnected.set()
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            await app(scope, replay, send)
            tasks.cancel_scope.cancel()

    return serve
