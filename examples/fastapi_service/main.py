"""The HTTP side: routes, start-up and shutdown. Run by `uvicorn --app-dir examples fastapi_service.main:app`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from .database import BACKEND, DatabaseException, db_pool
from .service import UserDataService


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    await db_pool.initialize()
    yield
    await db_pool.close()


app = FastAPI(title="holisticpool demo", lifespan=lifespan)


async def user_data_service() -> AsyncIterator[UserDataService]:
    service = UserDataService()
    try:
        yield service
    finally:
        await service.cleanup()


Service = Annotated[UserDataService, Depends(user_data_service)]


class NewEvent(BaseModel):
    kind: Literal["signup", "login", "check_in", "workout", "meal", "sleep"]
    payload: dict[str, Any] = Field(default_factory=dict)


@app.exception_handler(DatabaseException)
async def database_failed(request: Request, error: DatabaseException) -> JSONResponse:
    # What went wrong is in the log; a client learns only whose turn it is. Class 23 is a broken constraint.
    if (error.sqlstate or "").startswith("23"):
        return JSONResponse({"detail": "That contradicts what is stored."}, status_code=409)
    return JSONResponse({"detail": "The database is not available."}, status_code=503)


@app.get("/api/health")
async def health() -> dict[str, Any]:
    pool = await db_pool.get_pool_status()
    well = pool["status"] in ("healthy", "no_pool")
    return {
        "status": "healthy" if well else "unhealthy",
        "database": pool,
        "timestamp": datetime.now(timezone.utc).isoformat(),
    }


@app.get("/api/metrics")
async def metrics() -> dict[str, Any]:
    return {"backend": BACKEND, **db_pool.get_metrics()}


@app.get("/api/users")
async def list_users(
    service: Service,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> list[dict[str, Any]]:
    return await service.list_users(after, limit)


@app.get("/api/users/{user_id}")
async def get_user(user_id: int, service: Service) -> dict[str, Any]:
    user = await service.get_user(user_id)
    if user is None:
        raise HTTPException(404, "no such user")
    return user


@app.post("/api/users/{user_id}/events", status_code=201)
async def add_event(user_id: int, event: NewEvent, service: Service) -> dict[str, Any]:
    return await service.add_event(user_id, event.kind, event.payload)
